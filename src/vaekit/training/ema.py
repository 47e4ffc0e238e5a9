r"""An exponential moving average of the weights, by torch's ``AveragedModel``.

.. math:: \bar\theta \gets d \bar\theta + (1 - d) \theta, \qquad d = \min(\mathrm{decay}, \tfrac{1 + n}{10 + n})

after n updates. The decay begins small, so that the average is useful from the first epoch on.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Returns the update of the average for ``AveragedModel(multi_avg_fn=...)``."""

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, num_updates: Tensor | int) -> None:
        n = int(num_updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return update
