r"""Ways from one latent to another.

A straight line, and the great arc that keeps the length which latents have under a Gaussian prior,

.. math:: z_w = \frac{\sin((1 - w)\,\Omega)}{\sin \Omega}\, a + \frac{\sin(w\,\Omega)}{\sin \Omega}\, b,
          \qquad \cos \Omega = \frac{a \cdot b}{|a|\,|b|}.

References:
    | Sampling Generative Networks (White, 2016), https://arxiv.org/abs/1609.04468
"""

from collections.abc import Callable

import torch
from torch import Tensor

SMALLEST_SINE = 1e-3
"""Below it two latents point the same or opposite ways, and the arc between them is a straight line or undefined."""

SMALLEST_NORM = 1e-12
"""Below it a product of two lengths says nothing of directions."""


def linear(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Returns the points on the line from ``a`` to ``b``, all of shape (F, D), at weights of shape (F) from 0 to 1."""
    return torch.lerp(a, b, weights.unsqueeze(-1))


def spherical(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Returns the points on the arc from ``a`` to ``b``, all of shape (F, D), at weights of shape (F) from 0 to 1.

    Where the two point the same or opposite ways, or one is zero, the line takes the arc's place.
    """
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    cosine = torch.where(norms > SMALLEST_NORM, (a * b).sum(-1) / norms, 1)  # zero has no direction: the line
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin().unsqueeze(-1)
    arc = ((1 - weights) * angle).sin().unsqueeze(-1) * a + (weights * angle).sin().unsqueeze(-1) * b
    return torch.where(sine > SMALLEST_SINE, arc / sine.clamp(min=SMALLEST_SINE), linear(a, b, weights))


PATHS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"linear": linear, "spherical": spherical}


def along(points: Tensor, positions: Tensor, path: str = "linear") -> Tensor:
    """Returns points on the closed way through ``points``.

    Arguments:
        points: T points to pass, with shape (T, D).
        positions: Where, with shape (F): ``i + w`` lies between points ``i`` and ``i + 1`` at weight ``w``; after the last
            point comes the first again.
        path: ``linear`` or ``spherical``.

    Returns:
        Points of shape (F, D); at a whole position the point itself, exactly.
    """
    before = positions.floor()
    weights = (positions - before).to(points.dtype)
    first = before.long() % len(points)
    a, b = points[first], points[(first + 1) % len(points)]
    return torch.where((weights == 0).unsqueeze(-1), a, PATHS[path](a, b, weights))
