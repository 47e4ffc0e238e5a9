"""What is asked of a model: objectives, which see it only through :class:`vaekit.core.terms.Terms`.

The table lists every choice by the name that a recipe gives it; a class of your own goes into it.
"""

from collections.abc import Callable

from vaekit.objectives.elbo import ELBO
from vaekit.objectives.iwae import IWAE
from vaekit.objectives.objective import Objective
from vaekit.objectives.wake_sleep import WakeSleep

OBJECTIVES: dict[str, Callable[..., Objective]] = {"elbo": ELBO, "iwae": IWAE, "wake-sleep": WakeSleep}

__all__ = ["ELBO", "IWAE", "OBJECTIVES", "Objective", "WakeSleep"]
