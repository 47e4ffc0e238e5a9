"""Random numbers that depend only on a seed and on the position of an image in its data set.

They do not depend on the batch size, the order of evaluation or the process. So estimates are the same for any batch size,
up to rounding.
"""

from collections.abc import Iterable
from hashlib import blake2b

import torch
from torch import Tensor

from vaekit.core.rng import generator

BLOCK_SIZE = 50
"""The number of samples that are generated at a time. It is fixed, because the random numbers depend on it."""


class Noise:
    """Random numbers for the images of a batch, each image with its own generator, generated on the CPU.

    Arguments:
        seed: The seed of the estimate.
        positions: The position of each of the B images in its data set.
        size: D, the number of values in a sample.
        device: The device of the results.
    """

    def __init__(self, seed: int, positions: Iterable[int], size: int, device: torch.device) -> None:
        self.generators = [generator(_image_seed(seed, position)) for position in positions]
        self.size = size
        self.device = device
        self._buffer = torch.empty(0, len(self.generators), size)

    def normal(self, num: int) -> Tensor:
        """Returns standard normal values, with shape (num, B, D). Two calls give the same values as one call for both."""
        blocks = [self._buffer]
        while sum(map(len, blocks)) < num:
            block = [torch.randn(BLOCK_SIZE, self.size, generator=source) for source in self.generators]
            blocks.append(torch.stack(block, 1))
        values = torch.cat(blocks) if len(blocks) > 1 else self._buffer
        self._buffer = values[num:]
        return values[:num].to(self.device)

    def transition(self, num: int) -> tuple[Tensor, Tensor]:
        """Returns the random numbers for one transition of ``num`` Markov chains per image.

        Returns:
            Standard normal values with shape (num, B, D), and uniform values in [0, 1) with shape (num, B).
        """
        pairs = [
            (torch.randn(num, self.size, generator=source), torch.rand(num, generator=source)) for source in self.generators
        ]
        normal, uniform = (torch.stack(values, 1).to(self.device) for values in zip(*pairs, strict=True))
        return normal, uniform


def _image_seed(seed: int, position: int) -> int:
    """A seed for an image that is unrelated to the seeds of other images."""
    return int.from_bytes(blake2b(f"{seed} {position}".encode(), digest_size=7).digest(), "little")
