"""Seeds and generators.

Training, validation and images draw from torch's global generators. What happens beside training must not change the
numbers that training draws next, or a resumed run would differ from an uninterrupted one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_seed(seed: int) -> Iterator[None]:
    """Seeds torch's global generators inside the context and restores them afterwards."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """Returns a new generator on ``device`` with a seed."""
    return torch.Generator(device).manual_seed(seed)
