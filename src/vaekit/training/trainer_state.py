"""The state of a training: everything that a run has produced and that a later update depends on.

It holds the step's modules and optimizers, the average of the weights, the best weights, the records of the epochs, the
scheduler, counters, the position in the data and every random generator. What a checkpoint writes of it is in
:mod:`vaekit.training.checkpoint`.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from vaekit.training.trainer import Trainer


@dataclass
class Progress:
    """How far a run is."""

    epoch: int = 0
    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    best_elbo: float = -math.inf
    best_epoch: int = 0


def state_of(trainer: "Trainer") -> dict[str, Any]:
    """Returns the state of a trainer."""
    cuda = [torch.cuda.get_rng_state(trainer.device)] if trainer.device.type == "cuda" else []  # of another number elsewhere
    return {
        "progress": asdict(trainer.progress),
        "records": trainer.records,
        "best": trainer.best_weights,
        "step": trainer.step.state_dict(),
        "ema": None if trainer.ema is None else trainer.ema.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "batches": trainer.batches.state_dict(),
        "logs": {"names": trainer.log_names, "sums": trainer.log_sums},
        "spikes": None if trainer.guard is None else trainer.guard.state_dict(),
        "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
    }


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Restores a state of :func:`state_of`.

    Raises:
        RuntimeError, ValueError, KeyError, TypeError, AttributeError: If it is the state of another run.
    """
    trainer.step.load_state_dict(state["step"])
    if trainer.ema is not None:
        trainer.ema.load_state_dict(state["ema"])
    if trainer.guard is not None and state.get("spikes") is not None:
        trainer.guard.load_state_dict(state["spikes"])
    trainer.scheduler.load_state_dict(state["scheduler"])
    trainer.batches.load_state_dict(state["batches"])
    trainer.progress = Progress(**state["progress"])
    trainer.records, trainer.best_weights = state["records"], state["best"]
    sums = state["logs"]["sums"]
    trainer.log_names = state["logs"]["names"]
    trainer.log_sums = None if sums is None else sums.to(trainer.device)
    torch.set_rng_state(state["random"]["cpu"])
    if state["random"]["cuda"] and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(state["random"]["cuda"][0], trainer.device)
