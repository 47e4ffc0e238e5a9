"""How a model learns: the loop, its optimizers, its state on disk, and what one sees meanwhile."""

from vaekit.training.checkpoint import read_state, write_state
from vaekit.training.monte_carlo_em import MonteCarloEM
from vaekit.training.optimizers import OPTIMIZERS, SCHEDULERS
from vaekit.training.progress_view import View, view_for
from vaekit.training.trainer import Hooks, Progress, Step, Trainer, asked_to_stop, make_accelerator
from vaekit.training.training_config import TrainingConfig

__all__ = [
    "OPTIMIZERS",
    "SCHEDULERS",
    "Hooks",
    "MonteCarloEM",
    "Progress",
    "Step",
    "Trainer",
    "TrainingConfig",
    "View",
    "asked_to_stop",
    "make_accelerator",
    "read_state",
    "view_for",
    "write_state",
]
