r"""Spikes of the gradient: how one is recognized, and what is done about it.

A gradient is a spike if its norm before clipping is more than 10 times the median of the last 200, once 100 are known:

.. math:: \lVert g_t \rVert > 10 \cdot \mathrm{median}(\lVert g_{t - 200} \rVert, \dots, \lVert g_{t - 1} \rVert)

In the first 300 to 3,000 steps of the recipes of the package, and with cyclical KL weights, the importance-weighted bound,
flows, and logistic mixtures, the ratio stays below 5. Only with a Gaussian scale per pixel one step in 2,000 exceeds 10, and
its norm is that of a true outlier. Single spikes do not move the median. All finite norms enter it, those of spikes too, so
that norms that have changed for good are normal again after 100 steps.

- ``stop`` ends the run as a gradient that is not finite does.
- ``skip`` leaves weights, optimizer and buffers as they were, and goes on with the next batch.
- ``rollback`` returns weights, optimizer and average to the last copy in memory, which is made every 200 steps, and goes on
  with the next batch. Data and schedules do not go back: the batch of the spike does not come again in this epoch.

For ``skip`` and ``rollback``, a loss or gradient that is not finite is a spike too. The run ends after 10 skips without an
update between, after 10 returns to one copy, and after an epoch without an update. Nothing here draws random numbers. The
state is part of the checkpoint, so that a resumed run equals an uninterrupted one.

References:
    | PaLM (Chowdhery et al., 2022), section 5.1, for rollbacks that leave out the batches of a spike,
      https://arxiv.org/abs/2204.02311
"""

from collections import deque
from copy import deepcopy
from statistics import median
from typing import Any

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from vaekit.core.errors import Diverged
from vaekit.training.step import Step
from vaekit.training.training_config import OnSpike

FACTOR = 10.0
"""How many times its running median a gradient norm must exceed to be a spike."""
WINDOW, WARM_UP = 200, 100
"""The number of norms of the median, and the number that must be known before any can be a spike."""
COPY_EVERY = 200
"""The number of steps between two copies of the weights for ``rollback``."""
MAX_RECOVERIES = 10
"""The number of skips without an update between, or of returns to one copy, after which a run ends."""


class SpikeDetector:
    """The running medians of gradient norms, one for each optimizer of a step."""

    def __init__(self) -> None:
        self.norms: dict[str, deque[float]] = {}

    def check(self, norm: Tensor, optimizer: str) -> None:
        """Notes the norm of a gradient, a finite scalar.

        Raises:
            Diverged: If it is a spike.
        """
        value, known = float(norm), self.norms.setdefault(optimizer, deque(maxlen=WINDOW))
        middle = median(known) if len(known) >= WARM_UP else float("inf")
        known.append(value)
        if value > FACTOR * middle:
            raise Diverged(f"the gradient norm of {value:.3g} is {value / middle:.3g} times its running median")

    def state_dict(self) -> dict[str, list[float]]:
        """Returns the norms of each optimizer."""
        return {name: list(norms) for name, norms in self.norms.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Restores the norms of each optimizer."""
        self.norms = {name: deque(norms, maxlen=WINDOW) for name, norms in state.items()}


class SpikeGuard:
    """What a run does about spikes.

    Arguments:
        step: The step, which is given a detector.
        average: The moving average of the weights, or None.
        on_spike: What to do.
    """

    def __init__(self, step: Step, average: AveragedModel | None, on_spike: OnSpike) -> None:
        self.step = step
        self.average = average
        self.on_spike = on_spike
        self.step.spikes = self.detector = SpikeDetector()
        self.num_spikes = 0
        self.num_images = 0
        self.recoveries = 0
        self.copy: dict[str, Any] | None = None
        self._buffers: list[Tensor] = []

    def before_update(self, num_steps: int) -> None:
        """Copies what :meth:`recover` needs.

        Arguments:
            num_steps: The number of steps before this one.
        """
        if self.on_spike == "skip":
            self._buffers = [buffer.clone() for buffer in self._all_buffers()]
        if self.on_spike == "rollback" and (self.copy is None or num_steps % COPY_EVERY == 0):
            average = None if self.average is None else self.average.state_dict()
            self.copy = deepcopy({"step": self.step.state_dict(), "average": average})
            self.recoveries = 0

    def after_update(self) -> None:
        """Notes that an update was made."""
        if self.on_spike == "skip":
            self.recoveries = 0

    def recover(self, num_images: int) -> bool:
        """Undoes what a failed update of the weights has changed, and returns whether the run may go on.

        Arguments:
            num_images: The number of images of the update.
        """
        if self.on_spike == "stop" or self.recoveries == MAX_RECOVERIES:
            return False
        self.num_spikes += 1
        self.num_images += num_images
        self.recoveries += 1
        for module in self.step.modules.values():
            module.zero_grad()
        if self.on_spike == "skip":
            for buffer, before in zip(self._all_buffers(), self._buffers, strict=True):
                buffer.copy_(before)
        else:
            self._return_to_copy()
        return True

    def end_epoch(self) -> int:
        """Returns the number of spikes of the epoch, and begins the next one."""
        num_spikes = self.num_spikes
        self.num_spikes = self.num_images = 0
        return num_spikes

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a later decision depends on."""
        counts = {name: getattr(self, name) for name in ("num_spikes", "num_images", "recoveries")}
        return {"norms": self.detector.state_dict(), "counts": counts, "copy": self.copy}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state."""
        self.detector.load_state_dict(state["norms"])
        self.copy = state["copy"]
        for name, count in state["counts"].items():
            setattr(self, name, count)

    def _all_buffers(self) -> list[Tensor]:
        """The buffers of all modules, which a failed update may have changed, such as a running mean squared error."""
        return [buffer for module in self.step.modules.values() for buffer in module.buffers()]

    def _return_to_copy(self) -> None:
        """Loads the copy. The learning rate and the like stay those of the schedule."""
        assert self.copy is not None  # made before the first update
        state = deepcopy(self.copy)  # an optimizer goes on with the tensors that it loads
        for name, optimizer in self.step.optimizers.items():
            state["step"]["optimizers"][name]["param_groups"] = optimizer.state_dict()["param_groups"]
        self.step.load_state_dict(state["step"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
