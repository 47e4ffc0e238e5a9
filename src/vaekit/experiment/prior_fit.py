"""A new prior for a model in memory: encode the training images, fit, measure the gain, and look for copies.

Of a ladder it is the prior of the top layer; the layers below stay as they are.
"""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vaekit.core.config import build
from vaekit.core.registry import lookup
from vaekit.core.rng import fixed_seed
from vaekit.core.units import NATS
from vaekit.data import Dataset, Transform
from vaekit.distributions import PRIORS, Prior
from vaekit.distributions.code_priors import join_codes
from vaekit.distributions.latent_set import FitSchedule, LatentSet
from vaekit.evaluation.estimate import Estimate, mean_over_images
from vaekit.evaluation.latents.latent_sets import latent_set_of
from vaekit.models import VAE
from vaekit.training.prior_fitting import FitRecord, fit, log_densities, require_schedule

RANDOM_PASSES = 4
"""How often each training image is encoded if it is changed at random each time, as by dynamic binarization."""


@dataclass(frozen=True)
class FittedPrior:
    """A model with a fitted prior.

    Arguments:
        model: The model: encoder and decoder as before, and the new prior.
        name: The registered name of the prior.
        schedule: The steps of the fit.
        passes: How often each training image was encoded.
        record: The losses of the fit.
        seconds: The time of encoding and fitting.
        gain: What the new prior adds to the ELBO of validation images, in nats per image; None if one of the two priors has
            no density.
        seed: The seed.
    """

    model: VAE
    name: str
    schedule: FitSchedule
    passes: int
    record: FitRecord
    seconds: float
    gain: Estimate | None
    seed: int

    def lines(self) -> list[str]:
        """Returns what came of it, as text."""
        took = f"fitted the prior {self.name} in {self.seconds:.0f} s"
        if self.record.steps:
            took += f", {self.record.steps:,} steps, of which {self.record.best_step:,} are kept"
        if self.gain is not None:
            more = f"{self.gain.value:+.2f} ± {self.gain.standard_error or 0:.2f} nats per image"
            return [took, f"the ELBO of {self.gain.num_images:,} validation images changes by {more}"]
        if not self.model.has_density:
            return [took, f"sampler only: the prior {self.name} has no density, so there is no ELBO and no log p(x)"]
        return [took]


def fit_to_model(
    model: VAE,
    name: str,
    train: Dataset,
    valid: Dataset,
    *,
    transform: Transform | None = None,
    arguments: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    passes: int | None = None,
    seed: int = 0,
) -> FittedPrior:
    """Fits a new prior to a model, which is not changed.

    Arguments:
        model: The model.
        name: The registered name of the prior.
        train: The training data.
        valid: The validation data, which decide when to stop.
        transform: Applied to training data, as in the training of the model.
        arguments: Arguments of the prior's constructor; those that are not given have their defaults.
        changes: Changes of the prior's :class:`FitSchedule`, such as ``{"steps": 500}``.
        passes: How often each training image is encoded; by default once, and 4 times with a transform.
        seed: The seed of everything that is random.

    Raises:
        ConfigError: If there is no such prior, it cannot be fitted, or an argument is wrong.
        Diverged: If a loss is not finite.
    """
    begun = time.monotonic()
    passes = passes or (1 if transform is None else RANDOM_PASSES)
    prior = new_prior(model, name, arguments or {}, seed)
    schedule = replace(require_schedule(name, prior), **changes or {})
    latents = latent_set_of(model, train, transform, passes=passes, seed=seed)
    held_out = latent_set_of(model, valid)
    record = fit(prior, latents, held_out, schedule, name, seed)
    seconds = time.monotonic() - begun
    fitted = with_prior(model, prior)
    return FittedPrior(fitted, name, schedule, passes, record, seconds, gain_of(model, fitted, held_out), seed)


def require_fittable(name: str) -> FitSchedule:
    """Returns how a prior is fitted by default, before anything is loaded.

    Raises:
        ConfigError: If there is no such prior, or nothing to fit.
    """
    kind: Any = lookup(PRIORS, name, "--name")
    return require_schedule(name, kind)


def new_prior(model: VAE, name: str, arguments: Mapping[str, Any], seed: int) -> Prior:
    """Builds a prior for a model, on its device.

    Raises:
        ConfigError: If there is no such prior, it cannot be fitted, or an argument is wrong.
    """
    require_fittable(name)
    num_features = model.posterior.num_features if hasattr(model.posterior, "num_features") else 0
    spec = {"name": name, **arguments}
    if name == "flow-matching" and isinstance(num_features, tuple):
        _, height, width = num_features
        spec.setdefault("maps", [model.top_dim // (height * width), height, width])
    context_dim = 0 if model.condition is None else model.condition.context_dim
    inferred: dict[str, Any] = {"latent_dim": model.top_dim, "context_dim": context_dim, "shape": model.shape}
    with fixed_seed(seed):
        prior = build(PRIORS, spec, place="prior", **inferred)
        join_codes(model.posterior, prior)
        return prior.to(model.device)


def with_prior(model: VAE, prior: Prior) -> VAE:
    """Returns a model with another prior; everything else is copied."""
    fitted = copy.deepcopy(model)
    fitted.prior = prior
    return fitted.eval()


def gain_of(before: VAE, after: VAE, latents: LatentSet) -> Estimate | None:
    """Returns the mean of log p(z) by a new prior minus that by the old one, over the same samples of posteriors.

    It is what the new prior adds to the ELBO, since encoder and decoder are the same.
    """
    if not (before.has_density and after.has_density):
        return None
    with before.inference(), after.inference():
        new, old = (log_densities(model.top_pz, latents) for model in (after, before))
    return mean_over_images(new.double() - old.double(), NATS, 1)
