"""The tensors that users give a model: images, latents and labels of the right shape, type and device, or an error says why.

Nothing here waits for an accelerator: only shapes and types are compared. What depends on values, such as the scale of
pixels, is :meth:`vaekit.models.latent_variable_model.LatentVariableModel.refuse_wrong_scale`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vaekit.core.arguments import shown
from vaekit.core.errors import ModelError
from vaekit.data.dataset import INDICES


def require_images(x: Any, shape: tuple[int, ...], model: nn.Module) -> None:
    """Raises a ModelError if x is no batch of values of an event shape, with at least one, on the device of the model."""
    if not isinstance(x, Tensor):
        raise ModelError(f"images are a tensor, got {shown(x)}; vaekit.load_images makes one, as its .pixels")
    if tuple(x.shape[1:]) != tuple(shape) or x.dim() != len(shape) + 1:
        axes = "B, " + ", ".join(map(str, shape))
        raise ModelError(f"the model reads images of shape ({axes}), got shape {tuple(x.shape)}; B is the number of images")
    if not len(x):
        raise ModelError("the number of images is at least 1, got 0")
    _require_plain(x, "images")
    _require_device(x, model, "images", "x")


def require_image(x: Any, shape: tuple[int, ...]) -> None:
    """Raises a ModelError if x is no single image of a shape."""
    if not isinstance(x, Tensor) or tuple(x.shape) != tuple(shape):
        raise ModelError(f"an image is a tensor of shape {tuple(shape)}, got {shown(x)}; model.prepare(path)[0] makes one")


def require_values(values: Any, shape: tuple[int | None, ...], noun: str) -> None:
    """Raises a ModelError if values are no real numbers of a shape, whose axes may have any length where it says None."""
    axes = ", ".join("*" if length is None else str(length) for length in shape)
    if not isinstance(values, Tensor) or values.is_complex() or values.dtype == torch.bool or values.is_meta:
        raise ModelError(f"{noun} are a tensor of numbers of shape ({axes}), got {shown(values)}")
    if values.dim() != len(shape) or any(
        side not in (None, length) for side, length in zip(shape, values.shape, strict=True)
    ):
        raise ModelError(f"{noun} have shape ({axes}), got shape {tuple(values.shape)}")
    if not values.numel():
        raise ModelError(f"{noun} are none, of shape {tuple(values.shape)}; give at least one")


def require_latents(z: Any, latent_dim: int, model: nn.Module, axes: str = "B, D", *, moved: bool = False) -> None:
    """Raises a ModelError if z are no latents of a model.

    Arguments:
        z: The latents.
        latent_dim: D.
        model: The model.
        axes: Their shape: ``B, D``, ``D``, or ``*, B, D`` for any number of axes before these two.
        moved: Whether they are moved to the model's device afterwards.
    """
    if not isinstance(z, Tensor):
        raise ModelError(f"latents are a tensor of shape ({axes}), got {shown(z)}; model.encode(x).mean makes one")
    num_axes = axes.count(",") + 1 - axes.startswith("*")
    if z.dim() < num_axes or (z.dim() > num_axes and "*" not in axes) or z.shape[-1] != latent_dim:
        raise ModelError(f"latents have shape ({axes}) with D = {latent_dim}, got shape {tuple(z.shape)}")
    if not z.numel():
        raise ModelError(f"the number of latents is at least 1, got shape {tuple(z.shape)}")
    _require_plain(z, "latents")
    weight = next(model.parameters(), None)
    if weight is not None and z.dtype != weight.dtype and not torch.is_autocast_enabled(z.device.type):
        kind = name_of(weight.dtype)
        raise ModelError(f"latents are {kind}, as the model's weights, got {name_of(z.dtype)}; use z.to(torch.{kind})")
    if not moved or z.is_meta:
        _require_device(z, model, "latents", "z")


def require_labels(labels: Any, num: int) -> None:
    """Raises a ModelError if labels are no vector of ``num`` whole numbers; their range is the condition's to know."""
    if not isinstance(labels, Tensor):
        raise ModelError(
            f"labels are a tensor of whole numbers, one for each image, got {shown(labels)}; use torch.tensor([0, 1, ...])"
        )
    if labels.dtype not in INDICES:
        raise ModelError(f"labels are whole numbers, got {name_of(labels.dtype)}; use labels.long()")
    if labels.dim() != 1:
        raise ModelError(f"labels have shape (B), one for each image, got shape {tuple(labels.shape)}")
    if len(labels) != num:
        raise ModelError(
            f"{len(labels)} label{'s' * (len(labels) != 1)} for {num} image{'s' * (num != 1)}; give each its own"
        )
    if labels.is_meta:
        raise ModelError("labels are on the device meta, which holds no values; use labels of the cpu")


def name_of(dtype: torch.dtype) -> str:
    """Returns the name of a type, as ``float32``."""
    return str(dtype).removeprefix("torch.")


def _require_plain(values: Tensor, noun: str) -> None:
    """Refuses types and layouts that no layer takes."""
    if values.is_complex():
        raise ModelError(f"{noun} are real numbers, got {name_of(values.dtype)}")
    if values.layout != torch.strided:
        raise ModelError(f"{noun} are a dense tensor, got a sparse one; use .to_dense()")


def _require_device(values: Tensor, model: nn.Module, noun: str, name: str) -> None:
    """Refuses tensors of another device than the model's."""
    weight = next(model.parameters(), None)
    if weight is not None and values.device != weight.device:
        raise ModelError(f"{noun} are on {values.device} and the model is on {weight.device}; use {name}.to(model.device)")
