r"""One update of the weights.

.. math:: x \to \mathrm{Terms} \to \mathrm{Loss} \to \nabla \to \mathrm{clip} \to \theta

A step owns its optimizers and runs backward itself. :class:`GradientStep` is the usual one. A step of your own is a subclass
of :class:`Step` with the method :meth:`Step.update`, registered by ``@STEPS.register("name")``; a recipe then names it as
``step: {name: ...}``. Modules and optimizers that it adds to :attr:`Step.modules` and :attr:`Step.optimizers` are saved and
resumed with the run.

Several processes share a batch (:mod:`vaekit.core.shares`). Each computes the loss of its images, and :meth:`Step.descend`
averages the gradients before it uses them, so that all processes see one norm and make one update. The model is not wrapped
in ``DistributedDataParallel``, whose hooks allow one backward pass in a step, with a gradient for every weight.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from vaekit.core.errors import Diverged
from vaekit.core.processes import replicate, require_same_tensors
from vaekit.core.shares import average_gradients, average_logs, sharing
from vaekit.core.terms import StepContext
from vaekit.data import Batch
from vaekit.models import Model
from vaekit.objectives import Objective
from vaekit.training.variables import hidden_from_accelerate

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class StepSetup:
    """What a step is made of.

    Arguments:
        model: The model, on the accelerator's device.
        objective: The objective, on the same device.
        optimizer: The optimizer of the parameters of both.
        accelerator: The device, the precision and the processes.
        num_images: N, the number of training images.
        clip_norm: The norm that gradients are scaled down to; None for no clipping.
        seed: The seed of a step's own generators.
    """

    model: Model
    objective: Objective
    optimizer: Optimizer
    accelerator: "Accelerator"
    num_images: int
    clip_norm: float | None = None
    seed: int = 0


class Spikes(Protocol):
    """Notes gradient norms, as :class:`vaekit.training.spikes.SpikeDetector` does."""

    def check(self, norm: Tensor, optimizer: str) -> None:
        """Notes a norm, and raises Diverged if it is a spike."""


class Step(ABC):
    """One update of the weights from a batch.

    Attributes:
        model: The model that is trained.
        objective: Its objective.
        modules: Everything that is trained and saved, by name: ``model``, ``objective``, and what a subclass adds.
        optimizers: The optimizers by name: ``model``, whose learning rate the scheduler sets, and what a subclass adds.
        spikes: Checks the norm of each gradient; None for no check.
    """

    def __init__(self, setup: StepSetup) -> None:
        self.setup = setup
        self.model = setup.model
        self.objective = setup.objective
        # A quarter faster for convolutions, no difference for other layers; torch does not annotate this form.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.modules: dict[str, nn.Module] = {"model": self.model, "objective": self.objective}
        self.optimizers: dict[str, Optimizer] = {"model": setup.optimizer}
        self._began = False
        self.spikes: Spikes | None = None

    def __call__(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Moves the weights once, together with all processes that share the batch; see :meth:`update`.

        Raises:
            Diverged: In all processes, if the loss or a gradient is not finite.
            ProcessLost: If one of the processes ended.
        """
        with sharing(batch.share):
            return average_logs(self.update(batch, context))

    @abstractmethod
    def update(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Moves the weights once.

        Arguments:
            batch: The batch, on the accelerator's device; where processes share it, the images of this one.
            context: The time in epochs and in steps, and the number of training images; an objective gets it, too.

        Returns:
            Detached scalars to log, means over the images, ``loss`` among them; the same names at every step.

        Raises:
            Diverged: If the loss or a gradient is not finite. A step of one update then leaves the weights unchanged.
        """

    def labels(self, batch: Batch) -> Tensor | None:
        """Returns the labels of a batch, with shape (B), or None if the model is not conditional."""
        return None if self.model.condition is None else batch.y

    def descend(self, loss: Tensor, optimizer: str = "model") -> Tensor:
        """Runs backward and moves the weights of one optimizer.

        Arguments:
            loss: A scalar, a mean over the images of the batch.
            optimizer: The name of the optimizer. The gradients of all others are discarded.

        Returns:
            The norm of the gradient before clipping, a scalar; without the objective's own weights, which are clipped apart.

        Raises:
            Diverged: If the loss or the gradient is not finite, or its norm a spike; no weight is changed.
        """
        loss.backward()  # not by accelerate, which divides by the accumulation steps of any accelerator of the process
        mover = self.optimizers[optimizer]
        weights = [p for group in mover.param_groups for p in group["params"]]
        loss = average_gradients(weights, loss)
        parts = self._clipped_apart(weights)
        norms = [get_total_norm([p.grad for p in part if p.grad is not None], foreach=True) for part in parts]
        if not bool(sum(norms, loss).isfinite()):
            raise Diverged(f"the {'gradient' if bool(loss.isfinite()) else 'loss'} is not finite")
        norm = norms[0]
        if self.spikes is not None:
            self.spikes.check(norm, optimizer)
        if self.setup.clip_norm is not None:
            for part, part_norm in zip(parts, norms, strict=True):
                clip_grads_with_norm_(part, self.setup.clip_norm, part_norm)
        mover.step()
        for module in self.modules.values():
            module.zero_grad()
        return norm

    def _clipped_apart(self, weights: list[Tensor]) -> list[list[Tensor]]:
        """The weights without those of the objective, and the latter, such as a discriminator's, where there are any.

        One norm for both would let the gradient of a discriminator scale that of the model, and the reverse.
        """
        own = {id(weight) for weight in self.objective.parameters()}
        parts = [[w for w in weights if id(w) not in own], [w for w in weights if id(w) in own]]
        return [part for part in parts if part]

    def train(self) -> None:
        """Sets all modules to training mode, at the beginning of each epoch; processes compare their weights.

        Raises:
            RunError: If the processes hold different weights, as after an update without :meth:`descend`.
        """
        for module in self.modules.values():
            module.train()
        weights = [p for module in self.modules.values() for p in module.parameters()]
        if self._began:
            require_same_tensors("the weights", weights)
        else:
            replicate(weights)  # on machines of different kinds the initial ones may differ by rounding
        replicate(buffer for module in self.modules.values() for buffer in module.buffers())
        self._began = True

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a later update depends on."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state.

        Raises:
            RuntimeError, ValueError, KeyError: If it is the state of another model, objective or optimizer.
        """
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            _match_memory_layout(optimizer)


class BatchLoss(nn.Module):
    """A model and an objective as one module, which accelerate wraps for precision and processes."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, x: Tensor, labels: Tensor | None, context: StepContext) -> dict[str, Tensor]:
        """Returns ``loss`` and the logs of the objective, scalars in nats per image.

        Arguments:
            x: Images as uint8 with shape (B, C, H, W), or other data.
            labels: Labels, with shape (B), or None.
            context: The context of the step.
        """
        loss = self.objective(self.model(x, labels, self.objective.num_samples), context)
        return {"loss": loss.value, **loss.logs}


class GradientStep(Step):
    """One step of an optimizer down the gradient of the objective."""

    def __init__(self, setup: StepSetup) -> None:
        super().__init__(setup)
        with hidden_from_accelerate():
            self._loss = setup.accelerator.prepare(BatchLoss(self.model, self.objective))

    def update(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Moves the weights of model and objective once; logs ``loss``, the objective's logs and ``grad_norm``."""
        logs: dict[str, Tensor] = self._loss(batch.x, self.labels(batch), context)
        norm = self.descend(logs["loss"])
        return logs | {"loss": logs["loss"].detach(), "grad_norm": norm}


def _match_memory_layout(optimizer: Optimizer) -> None:
    """Gives loaded optimizer state the memory layout of its weights, which fused kernels rely on."""
    for weight, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[key] = torch.empty_like(weight).copy_(value)
