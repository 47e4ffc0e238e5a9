"""Random numbers that belong to an image.

What is drawn for an image depends on a seed and on the image's place in its set, and on nothing else: not on the batch
that it comes in, the order, or the process that evaluates it. So an estimate is the same for any batch size and chunking,
to rounding.
"""

from collections.abc import Iterable
from hashlib import blake2b

import torch
from torch import Tensor

from vaekit.core.rng import generator

BLOCK = 50
"""How many samples are drawn at a time; a generator's stream depends on it, so that it is fixed."""


class Noise:
    """Numbers for the images of a batch, each from a generator of its own, drawn on the CPU.

    Arguments:
        seed: The seed of the estimate.
        places: The place of each image in its set, B of them.
        size: D, how many numbers a sample has.
        device: Where the numbers are wanted.
    """

    def __init__(self, seed: int, places: Iterable[int], size: int, device: torch.device) -> None:
        self.generators = [generator(_mix(seed, place)) for place in places]
        self.size = size
        self.device = device
        self.left = torch.empty(0, len(self.generators), size)

    def normal(self, num: int) -> Tensor:
        """Draws standard normal numbers, with shape (num, B, D); two calls give what one call for both would."""
        blocks = [self.left]
        while sum(map(len, blocks)) < num:
            drawn = [torch.randn(BLOCK, self.size, generator=own) for own in self.generators]
            blocks.append(torch.stack(drawn, 1))
        found = torch.cat(blocks) if len(blocks) > 1 else self.left
        self.left = found[num:]
        return found[:num].to(self.device)

    def moves(self, num: int) -> tuple[Tensor, Tensor]:
        """Draws what a step of a Markov chain needs.

        Returns:
            Standard normal numbers with shape (num, B, D), and numbers between 0 and 1 with shape (num, B).
        """
        drawn = [(torch.randn(num, self.size, generator=own), torch.rand(num, generator=own)) for own in self.generators]
        normal, uniform = (torch.stack(numbers, 1).to(self.device) for numbers in zip(*drawn, strict=True))
        return normal, uniform


def _mix(seed: int, place: int) -> int:
    """A seed for an image that shares nothing with those of its neighbors."""
    return int.from_bytes(blake2b(f"{seed} {place}".encode(), digest_size=7).digest(), "little")
