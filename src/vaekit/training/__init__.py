"""Training: the loop, its steps, optimizers and schedulers, callbacks and checkpoints."""

from vaekit.core.config import Registry
from vaekit.training.callbacks import Callback
from vaekit.training.checkpoint import Checkpoints, read_state, write_state
from vaekit.training.devices import find_device, make_accelerator
from vaekit.training.monte_carlo_em import MonteCarloEM
from vaekit.training.optimizers import OPTIMIZERS
from vaekit.training.progress_view import progress_view
from vaekit.training.schedulers import SCHEDULERS
from vaekit.training.step import GradientStep, Step, StepSetup
from vaekit.training.trainer import Progress, Trainer
from vaekit.training.training_config import TrainingConfig

STEPS: Registry[Step] = Registry("STEPS", {"gradient": GradientStep, "monte-carlo-em": MonteCarloEM})

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
    "make_accelerator",
    "progress_view",
    "read_state",
    "write_state",
]
