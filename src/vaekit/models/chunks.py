"""How many images a model decodes at a time: as many as its widest layer has room for.

A chunk that fits the cache of a processor is twice as fast as a larger one, and memory does not grow with the number of
images.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CPU_CHUNK_BUDGET, ACCELERATOR_CHUNK_BUDGET = 2**20, 2**26
"""How many numbers the widest layer holds for all images of a chunk: 4 MB of float32, which fit into a processor's cache (a
convolutional decoder is half as fast with more), and 256 MB on an accelerator."""


def chunk_budget(device: torch.device) -> int:
    """Returns the number of values that the widest layer may hold for all images of a chunk."""
    return CPU_CHUNK_BUDGET if device.type == "cpu" else ACCELERATOR_CHUNK_BUDGET


@contextmanager
def sizes_of_outputs(model: nn.Module) -> Iterator[list[int]]:
    """Notes the number of values of each tensor that a layer of the model returns inside the context."""
    sizes: list[int] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        sizes.append(output.numel() if isinstance(output, Tensor) else 0)

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()


def rows(context: Tensor | None, start: int, num: int) -> Tensor | None:
    """Returns ``num`` rows of a context from ``start`` on, or None for None."""
    return None if context is None else context[start : start + num]
