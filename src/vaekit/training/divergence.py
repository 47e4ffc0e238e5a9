"""Why an update failed: the images, the terms that are not finite, and the likeliest cause with its remedy, in one line.

Nothing is recorded while training goes well. When a loss or a gradient is not finite, the weights are still those before the
update and the gradients those of the failed one. So the terms of the batch are computed again, without gradients, with noise
of fixed seeds and without a change of torch's global generators. The noise is not that of the failed step: if its terms were
finite for every seed, the message names the gradients alone.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from vaekit.core.rng import fixed_seed
from vaekit.core.schedules import Schedule
from vaekit.core.terms import StepContext, Terms
from vaekit.data import Batch, Dataset
from vaekit.distributions.bounded_scale import LINEAR
from vaekit.training.step import GradientStep, Step

NUM_SEEDS = 4
"""The number of seeds with which the terms are computed again, until one is not finite."""
NUM_NAMED = 3
"""The number of images that a message names."""
MAX_NAME = 40
"""The length to which the name of an image is shortened."""
LARGE_WEIGHT, LARGE_VALUE, LARGE_SETTING = 1e4, 1e6, 1e4
"""The magnitude of weights, of data and of the objective's settings from which on they are named as the cause."""
LOWER_RATE = "lower the learning rate (--lr) or clip the gradient (--set training.clip_norm=1)"


@dataclass
class Findings:
    """What is known of a failed update.

    Arguments:
        step: The step, after its failed update.
        batch: The batch of the update.
        context: The context of the step.
        not_finite: The names of the terms that are not finite.
        images: The positions in the batch of the images with such a term.
        terms: The terms of the batch; None if they cannot be computed.
    """

    step: Step
    batch: Batch
    context: StepContext
    not_finite: list[str] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    terms: Terms | None = None


def explain(what: str, where: str, step: Step, batch: Batch, context: StepContext, dataset: Dataset) -> str:
    """Returns one line of at most a few hundred characters about an update that failed.

    Arguments:
        what: What happened, e.g. ``the loss is not finite``.
        where: The place in the run, e.g. ``at step 7 (epoch 2)``.
        step: The step: its weights are those before the update, its gradients those of the update.
        batch: The batch of the update.
        context: The context of the step.
        dataset: The data set that the batch is from, which names the images.
    """
    found = _investigate(step, batch, context)
    cause, remedy = next(result for cause in CAUSES if (result := cause(found)) is not None)
    images = found.images or range(len(batch))
    terms = found.not_finite + [f"gradient of {part}" for part in _parts_with_gradient_not_finite(step)]
    clause = f"; not finite: {', '.join(terms[:8])}" if terms else ""
    return f"{what} {where}, {_names(dataset, batch, list(images))}{clause}; likely cause: {cause}; {remedy}"


def _investigate(step: Step, batch: Batch, context: StepContext) -> Findings:
    """Computes the terms again with several seeds, until one is not finite."""
    found = Findings(step, batch, context)
    for seed in range(NUM_SEEDS):
        if not found.not_finite:
            found = _recompute(step, batch, context, seed, step.setup.accelerator.autocast())
    return found


def _recompute(
    step: Step, batch: Batch, context: StepContext, seed: int, precision: AbstractContextManager[Any]
) -> Findings:
    """The terms for one seed. Code of a user may fail on numbers that are not finite: then nothing is known."""
    found = Findings(step, batch, context)
    try:
        with fixed_seed(seed), step.model.inference(), step.model.trusting_input(), precision:
            found.terms = step.model(batch.x, step.labels(batch), step.objective.num_samples)
            by_image = _terms_by_image(found.terms)
            scalars = step.objective(found.terms, context).logs if isinstance(step, GradientStep) else {}
    except (RuntimeError, ValueError, ArithmeticError):
        return found
    bad = {name: ~values.isfinite() for name, values in by_image.items()}
    known = {*bad, "elbo", "rate", "distortion"}
    found.not_finite = [name for name, images in bad.items() if bool(images.any())]
    found.not_finite += [name for name, value in scalars.items() if name not in known and not bool(value.isfinite().all())]
    found.images = torch.stack(list(bad.values())).any(0).nonzero().flatten().tolist()
    return found


def _terms_by_image(terms: Terms) -> dict[str, Tensor]:
    """The terms by name, each with shape (B)."""
    samples = torch.cat([latent.z.flatten(2) for latent in terms.latents], -1)
    return {"z": samples.sum((0, 2)), "rate": terms.rate(), "log p(x|z)": terms.log_px.sum(0), **terms.penalties}


def _parts_with_gradient_not_finite(step: Step) -> list[str]:
    """The parts of the model, or other modules, that have a gradient which is not finite."""
    return [name for name, part in _parts(step) if any(not _is_finite(p.grad) for p in part.parameters())]


def _parts(step: Step) -> Iterator[tuple[str, nn.Module]]:
    """The parts of the model (encoder, posterior, ...) and the other modules of a step, by name."""
    yield from step.model.named_children()
    yield from ((name, module) for name, module in step.modules.items() if module is not step.model)


def _is_finite(values: Tensor | None) -> bool:
    return values is None or bool(values.isfinite().all())


def _names(dataset: Dataset, batch: Batch, positions: list[int]) -> str:
    """The names of images by their positions in the batch; their rows in the source if they have no names."""
    rows = batch.rows[positions[:NUM_NAMED]].tolist()
    if dataset.names:
        named = [repr(_shorten(dataset.names[row])) for row in rows]
    else:
        named = [str(row if dataset.rows is None else int(dataset.rows[row])) for row in rows]
    rest = f" and {len(positions) - NUM_NAMED} more" if len(positions) > NUM_NAMED else ""
    noun = dataset.noun if len(positions) > 1 else dataset.noun.removesuffix("s")
    return f"{noun} {', '.join(named)}{rest}"


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"...{name[3 - MAX_NAME :]}"


# Causes, the surest first: each returns a cause and its remedy, or None if it is another one.

Cause = Callable[[Findings], tuple[str, str] | None]


def _data(found: Findings) -> tuple[str, str] | None:
    x = found.batch.x
    if not x.is_floating_point():
        return None
    bad = ~x.flatten(1).isfinite().all(1)
    if bool(bad.any()):
        found.images = bad.nonzero().flatten().tolist()
        return "values of the data that are not finite", "remove or replace them"
    if float(x.abs().max()) > LARGE_VALUE:
        return f"values of the data of up to {float(x.abs().max()):.3g}", "scale the data to the order of 1"
    return None


def _setting(found: Findings) -> tuple[str, str] | None:
    """A weight of a term of the objective."""
    if not isinstance(found.step, GradientStep):
        return None
    objective = found.step.objective
    settings = {"objective.beta": getattr(objective, "beta", 0.0)}
    settings |= {f"objective.{name}": getattr(objective, name, None) for name in ("free_bits", "capacity", "perceptual")}
    settings |= {f"objective.penalties.{name}": weight for name, weight in objective.penalties.items()}
    values = {place: _value(setting, found.context.epoch) for place, setting in settings.items()}
    place = max(values, key=lambda place: values[place])
    if values[place] < LARGE_SETTING:
        return None
    beta = place == "objective.beta"
    return (
        f"{'the KL weight' if beta else place} of {values[place]:.3g}",
        f"lower it ({'--beta' if beta else f'--set {place}=...'})",
    )


def _value(setting: Any, epoch: float) -> float:
    """A number, or a schedule at a time."""
    return float(setting(epoch) if isinstance(setting, Schedule) else setting or 0.0)


def _precision(found: Findings) -> tuple[str, str] | None:
    if found.step.setup.accelerator.mixed_precision != "bf16" or not found.not_finite:
        return None
    in_float32 = [
        _recompute(found.step, found.batch, found.context, seed, nullcontext()).not_finite for seed in range(NUM_SEEDS)
    ]
    if any(in_float32):
        return None
    return "networks in bfloat16, as all terms are finite in float32", "train in float32 (--precision float32)"


def _weights(found: Findings) -> tuple[str, str] | None:
    for name, part in _parts(found.step):
        largest = float(
            torch.stack([p.detach().abs().max() for p in part.parameters() if p.numel()] or [torch.zeros(())]).max()
        )
        if not largest <= LARGE_WEIGHT:  # NaN as well
            lr = found.step.optimizers["model"].param_groups[0]["lr"]
            return f"weights of {name} as large as {largest:.3g} after updates with a learning rate of {lr:.3g}", LOWER_RATE
    return None


def _scale(found: Findings) -> tuple[str, str] | None:
    """A log-variance at its bound."""
    if found.terms is None:
        return None
    candidates = [("p(x|z)", found.terms.px)]
    candidates += [pair for latent in found.terms.latents for pair in (("q(z|x)", latent.qz), ("p(z)", latent.pz))]
    for name, distribution in candidates:
        scale = _scale_of(distribution)
        if scale is not None and bool((2 * scale.log().abs() > LINEAR).any()):
            return f"log-variances of {name} at their bound", LOWER_RATE
    return None


def _scale_of(distribution: Distribution) -> Tensor | None:
    """The scale of a distribution, where it has one that is not estimated."""
    base = distribution.base_dist if isinstance(distribution, Independent) else distribution
    scales = (getattr(base, name, None) for name in ("scale", "stddevs"))
    return next((scale for scale in scales if isinstance(scale, Tensor)), None)


def _default(found: Findings) -> tuple[str, str]:
    return "an update that was too large", LOWER_RATE


CAUSES: tuple[Cause, ...] = (_data, _setting, _precision, _weights, _scale, _default)
