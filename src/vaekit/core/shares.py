r"""A batch that several processes share: each computes the images of its slice.

Process :math:`r` computes :math:`B_r` of the :math:`B` images, which has the **weight** :math:`w_r = B_r / B`. Whatever is a
mean over images, such as a loss, is then

.. math:: \mathcal{L} = \sum_r w_r \mathcal{L}_r, \qquad \nabla \mathcal{L} = \sum_r w_r \nabla \mathcal{L}_r.

So a process computes the mean over its own images and the gradient of it, as if it were alone, and the results of all are
averaged with these weights: the gradients once in each step (:func:`average_gradients`) and the values to log. This is exact
for slices of any sizes. Only a loss that is **not linear** in a mean over the batch, such as :math:`|\bar r - C|`, must take
the mean over all processes, by :func:`batch_mean`, whose gradient is that of the mean.

Random numbers for a batch are drawn for the whole batch by every process, from equal generators, and each takes its slice
(:func:`batch_draw`). So they do not depend on the number of processes, and the generators stay equal.

The share of a batch is known inside :func:`sharing`, which surrounds the transform of a batch and a step of training.
Outside of it, and in a run of one process, every function here does what its name says for the tensor alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.processes import add_up, add_up_all, num_processes, rank
from vaekit.core.rng import fixed_seed


@dataclass(frozen=True)
class Share:
    """The images of a batch that a process computes.

    Arguments:
        start: The first.
        stop: The one after the last.
        total: B, the number of images of the batch.
        weight: The weight of their mean in the mean over the batch. It is 0 for an image that another process computes too,
            because there are more processes than images.
    """

    start: int
    stop: int
    total: int
    weight: float

    @property
    def size(self) -> int:
        """The number of images, at least 1."""
        return self.stop - self.start

    def of(self, values: Tensor, dim: int = 0) -> Tensor:
        """Returns this share of a tensor for all images of the batch."""
        return values.narrow(dim, self.start, self.size)


def share_of(total: int) -> Share | None:
    """Returns this process's share of a batch of ``total`` images; None if there is one process."""
    num = num_processes()
    if num == 1:
        return None
    start, stop = rank() * total // num, (rank() + 1) * total // num
    if start == stop:
        first = min(start, total - 1)
        return Share(first, first + 1, total, 0.0)
    return Share(start, stop, total, (stop - start) / total)


_current: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Makes this the share of the batch that is computed inside the context."""
    token = _current.set(share)
    try:
        yield
    finally:
        _current.reset(token)


def current_share(num: int) -> Share | None:
    """Returns the share of the current batch if its images are ``num``; None if the batch is not shared, or is another."""
    share = _current.get()
    return share if share is not None and share.size == num else None


def batch_size(num: int) -> int:
    """Returns the number of images of the current batch, of which this process computes ``num``."""
    share = current_share(num)
    return num if share is None else share.total


def batch_mean(values: Tensor, *dims: int) -> Tensor:
    """Returns the mean of values for each image over the batch, and so over all processes; it is differentiable.

    It is for losses that are not linear in this mean. The mean of a loss or of a value to log is ``values.mean()``.

    Arguments:
        values: A tensor of which one axis is the batch.
        dims: The axes to average, that of the batch among them; all without any.
    """
    mean = values.mean(dims) if dims else values.mean()
    share = _current.get()
    if share is None:
        return mean
    result: Tensor = _WeightedMean.apply(mean, share.weight)  # type: ignore[no-untyped-call]
    return result


class _WeightedMean(torch.autograd.Function):
    r"""The mean :math:`M = \sum_r w_r m_r` over processes.

    The gradients of all processes are averaged in the end, so that the objective is :math:`\sum_s w_s \mathcal{L}_s` and
    the gradient that counts is :math:`w_r g_r` for :math:`g_r` in process r. For :math:`m_r` it is
    :math:`w_r \sum_s w_s \, \partial \mathcal{L}_s / \partial M`, hence :math:`g_r` is that sum.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return add_up(weight * mean)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return add_up(ctx.weight * gradient), None


def batch_draw(draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int], dim: int = 0) -> Tensor:
    """Returns random numbers for the images of a batch, which do not depend on the number of processes.

    Arguments:
        draw: A function from a shape to random numbers, from a generator that is in the same state in all processes.
        shape: The shape of the result.
        dim: The axis of the batch.
    """
    shape = tuple(shape)
    share = current_share(shape[dim])
    if share is None:
        with own_random_numbers():
            return draw(shape)
    return share.of(draw((*shape[:dim], share.total, *shape[dim + 1 :])), dim)


def own_random_numbers() -> AbstractContextManager[None]:
    """Gives each process its own random numbers from torch's global generators inside the context, in a shared batch.

    It is for what cannot be drawn for the whole batch. The generators stay equal: they move by one number.
    """
    if _current.get() is None:
        return nullcontext()
    return fixed_seed(int(torch.randint(2**48, ())) + rank())


def gather(values: Tensor) -> Tensor:
    """Returns the values of all images of the current batch, with shape (B, *), of those of this process; no gradient."""
    share = current_share(len(values))
    if share is None:
        return values
    everyone = values.new_zeros(share.total, *values.shape[1:])
    if share.weight:
        everyone[share.start : share.stop] = values.detach()
    return add_up(everyone)


def average_logs(logs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the means over the current batch of scalars that each process computed of its images."""
    share = _current.get()
    if share is None:
        return dict(logs)
    values = add_up(share.weight * torch.stack(list(logs.values())))
    return dict(zip(logs, values.unbind(), strict=True))


def average_gradients(weights: Sequence[Tensor], loss: Tensor) -> Tensor:
    """Averages the gradients of weights over the processes that share the current batch, and returns the mean loss.

    A weight without a gradient in every process keeps none. There is one exchange of all gradients.

    Arguments:
        weights: The weights, the same in all processes.
        loss: The loss of this process, a scalar.
    """
    share = _current.get()
    if share is None:
        return loss.detach()
    used = torch.tensor([weight.grad is not None for weight in weights], dtype=loss.dtype, device=loss.device)
    facts = torch.cat([share.weight * loss.detach().reshape(1), used])
    gradients = [torch.zeros_like(weight) if weight.grad is None else share.weight * weight.grad for weight in weights]
    add_up_all([facts, *gradients])
    for weight, gradient, is_used in zip(weights, gradients, facts[1:].tolist(), strict=True):
        weight.grad = gradient if is_used else None
    return facts[0]
