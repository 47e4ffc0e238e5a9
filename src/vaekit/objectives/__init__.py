"""Objectives: losses made of a model's :class:`vaekit.core.terms.Terms`.

A new objective is a subclass of :class:`Objective`, registered by ``@OBJECTIVES.register("name")``.
"""

from vaekit.core.config import Registry
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.iwae import IWAE
from vaekit.objectives.objective import Objective
from vaekit.objectives.wake_sleep import WakeSleep

OBJECTIVES: Registry[Objective] = Registry("OBJECTIVES", {"elbo": ELBO, "iwae": IWAE, "wake-sleep": WakeSleep})

__all__ = ["ELBO", "IWAE", "OBJECTIVES", "Objective", "WakeSleep"]
