"""Training: the loop, its steps, optimizers and schedulers, callbacks and checkpoints."""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names
from vaekit.core.registry import Registry

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from vaekit.training.callbacks import Callback
    from vaekit.training.checkpoint import Checkpoints, read_state, write_state
    from vaekit.training.console_view import progress_view
    from vaekit.training.devices import find_device, join_processes, make_accelerator
    from vaekit.training.monte_carlo_em import MonteCarloEM
    from vaekit.training.schedulers import Scheduler
    from vaekit.training.step import GradientStep, Step, StepSetup
    from vaekit.training.trainer import Trainer
    from vaekit.training.trainer_state import Progress
    from vaekit.training.training_config import TrainingConfig

OPTIMIZERS: "Registry[Optimizer]" = Registry(
    "OPTIMIZERS",
    {name: f"vaekit.training.optimizers.{name}" for name in ("adam", "adamw", "adamax", "adagrad", "sgd")},
)
SCHEDULERS: "Registry[Scheduler]" = Registry(
    "SCHEDULERS",
    {name: f"vaekit.training.schedulers.{name}" for name in ("constant", "cosine", "stages", "plateau")},
)
STEPS: "Registry[Step]" = Registry(
    "STEPS",
    {"gradient": "vaekit.training.step.GradientStep", "monte-carlo-em": "vaekit.training.monte_carlo_em.MonteCarloEM"},
)

__all__ = [
    "OPTIMIZERS",
    "SCHEDULERS",
    "STEPS",
    "Callback",
    "Checkpoints",
    "GradientStep",
    "MonteCarloEM",
    "Progress",
    "Step",
    "StepSetup",
    "Trainer",
    "TrainingConfig",
    "find_device",
    "join_processes",
    "make_accelerator",
    "progress_view",
    "read_state",
    "write_state",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Callback": "callbacks",
        "Checkpoints": "checkpoint",
        "GradientStep": "step",
        "MonteCarloEM": "monte_carlo_em",
        "Progress": "trainer_state",
        "Step": "step",
        "StepSetup": "step",
        "Trainer": "trainer",
        "TrainingConfig": "training_config",
        "find_device": "devices",
        "join_processes": "devices",
        "make_accelerator": "devices",
        "progress_view": "console_view",
        "read_state": "checkpoint",
        "write_state": "checkpoint",
    },
)
