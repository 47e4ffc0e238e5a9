"""Objectives: losses made of a model's :class:`vaekit.core.terms.Terms`.

A new objective is a subclass of :class:`Objective`, registered by ``@OBJECTIVES.register("name")``.
"""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names
from vaekit.core.registry import Registry

if TYPE_CHECKING:
    from vaekit.objectives.adversarial import Adversarial
    from vaekit.objectives.elbo import ELBO
    from vaekit.objectives.iwae import IWAE
    from vaekit.objectives.layered_elbo import LayeredELBO
    from vaekit.objectives.objective import Objective
    from vaekit.objectives.wake_sleep import WakeSleep

OBJECTIVES: "Registry[Objective]" = Registry(
    "OBJECTIVES",
    {
        "elbo": "vaekit.objectives.elbo.ELBO",
        "iwae": "vaekit.objectives.iwae.IWAE",
        "layered-elbo": "vaekit.objectives.layered_elbo.LayeredELBO",
        "adversarial": "vaekit.objectives.adversarial.Adversarial",
        "wake-sleep": "vaekit.objectives.wake_sleep.WakeSleep",
    },
)

__all__ = ["ELBO", "IWAE", "OBJECTIVES", "Adversarial", "LayeredELBO", "Objective", "WakeSleep"]

__getattr__ = lazy_names(
    __name__,
    {
        "Adversarial": "adversarial",
        "ELBO": "elbo",
        "IWAE": "iwae",
        "LayeredELBO": "layered_elbo",
        "Objective": "objective",
        "WakeSleep": "wake_sleep",
    },
)
