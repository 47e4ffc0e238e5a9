r"""Gradients through quantization: what a code vector passes back to the vector that it replaces.

A quantizer replaces a vector :math:`e` by its nearest code vector :math:`q`, a function whose derivative is 0. Two gradients
take its place. In both the value is :math:`q` exactly.

.. math::
    \text{straight-through:} \quad & \partial q / \partial e := I \\
    \text{rotation:} \quad & \partial q / \partial e := \lambda R, \qquad \lambda = \frac{\|q\|}{\|e\|}, \quad
        R = I - 2 r r^\top + 2 \hat q \hat e^\top, \quad r = \frac{\hat e + \hat q}{\|\hat e + \hat q\|},

where :math:`\hat e` and :math:`\hat q` are the vectors divided by their lengths. R is the rotation of :math:`\hat e` to
:math:`\hat q` in the plane of the two, so :math:`\lambda R e = q`: the gradient keeps its angle to the vector.

References:
    | Estimating or Propagating Gradients Through Stochastic Neurons (Bengio et al., 2013), https://arxiv.org/abs/1308.3432
    | Restructuring Vector Quantization with the Rotation Trick (Fifty et al., 2024), https://arxiv.org/abs/2410.06424
"""

from typing import Any, Literal

import torch
from torch import Tensor

QuantizerGradient = Literal["rotation", "straight-through"]

MIN_LENGTH = 1e-6
"""The length below which a vector has no direction; it is divided by this length."""


def replaced(
    vectors: Tensor, codes: Tensor, gradient: QuantizerGradient = "straight-through", weight: float = 1.0
) -> Tensor:
    """Returns code vectors whose gradient reaches the vectors that they replace.

    Arguments:
        vectors: The vectors e, with shape (*, d).
        codes: The code vectors q, with shape (*, d). They get no gradient.
        gradient: Which gradient.
        weight: A factor of the gradient.

    Returns:
        The values of ``codes``, bit for bit.
    """
    function = _Rotation if gradient == "rotation" else _StraightThrough
    result: Tensor = function.apply(vectors, codes, weight)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, codes: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return codes.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.weight * gradient, None, None


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, codes: Tensor, weight: float) -> Tensor:
        ctx.save_for_backward(vectors, codes)
        ctx.weight = weight
        return codes.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        vectors, codes = ctx.saved_tensors
        length, code_length = _length(vectors), _length(codes)
        e, q = vectors / length, codes / code_length
        r = (e + q) / _length(e + q)
        rotated = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * e * (q * gradient).sum(-1, keepdim=True)
        return ctx.weight * code_length / length * rotated, None, None


def _length(vectors: Tensor) -> Tensor:
    """The lengths of vectors, at least :data:`MIN_LENGTH`, with shape (*, 1)."""
    length: Tensor = vectors.norm(dim=-1, keepdim=True)
    return length.clamp(min=MIN_LENGTH)
