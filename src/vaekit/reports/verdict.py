"""What a reader should know first of a run: three numbers, and sentences on what they mean.

The sentences follow from rules on the records of the epochs and the final metrics:

- the latents: how many are active, and whether the model has collapsed;
- the codes of a discrete model: how many are used, and what its rate is;
- the length of the training: whether the ELBO was still rising at the end, or the weights of an earlier epoch were kept;
- generalization: how far the ELBO of training images is above that of validation images at the kept epoch. A model overfits
  if the latter also fell after that epoch, so that training longer made it worse.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaekit.plots.curves import kept
from vaekit.plots.style import typeset
from vaekit.presentation.metric_text import unit_of, value_of
from vaekit.reports.sections import names_of

HEADLINES = ("elbo", "psnr", "active_units")
"""The metrics that are shown large; of a discrete model the codes are shown instead of the latents."""
MIN_USE = 95.0
"""The share of the codes, in percent, below which they count as dying."""
MIN_GAP, GAP_SHARE = 1.0, 0.05
"""The difference of the ELBO of both splits from which on it is a gap: in nats, and as a share of the ELBO."""
MIN_FALL = 0.1
"""The fall of the validation ELBO after the kept epoch, as a share of the gap, above which a model overfits."""
LOG_2 = math.log(2)
"""The nats of a bit."""
MIN_RISE = 0.001
"""The rise of the ELBO over the last tenth of the epochs, as a share of the whole rise, above which more epochs help."""


@dataclass(frozen=True)
class Headline:
    """A number that is shown large.

    Arguments:
        name: What it is.
        value: The number, with its standard error.
        unit: The unit, with the numbers of samples and images.
    """

    name: str
    value: str
    unit: str


def headlines(metrics: Mapping[str, Any], history: Sequence[dict[str, Any]]) -> list[Headline]:
    """Returns the numbers of a run that are shown large: final ones, or the validation ELBO if it is not finished."""
    if metrics:
        names, shown = names_of(metrics), HEADLINES
        if "code_use" in metrics:
            shown = (*HEADLINES[:2], "code_use")
        return [
            Headline(names[key][0], typeset(value_of(key, metrics[key])), unit_of(key, metrics[key]))
            for key in shown
            if key in metrics
        ]
    record = kept(history)
    if record is None:
        return []
    return [
        Headline("validation ELBO", typeset(f"{record['valid']['elbo']:.2f}"), f"nats per image, epoch {record['epoch']}")
    ]


def verdict(metrics: Mapping[str, Any], history: Sequence[dict[str, Any]], active: int, num_latents: int) -> list[str]:
    """Returns sentences on a run.

    Arguments:
        metrics: The final metrics; empty if the run is not finished.
        history: The records of the epochs.
        active: The number of active latents.
        num_latents: The number of latents.
    """
    sentences = [of_latents(active, num_latents), of_codes(metrics or (kept(history) or {}).get("valid", {}))]
    if not metrics:
        sentences.insert(0, "The run is not finished, so there are no final metrics; images are from its best model so far.")
    if kept(history) is not None:
        sentences += [of_objective(history) or of_length(history), of_generalization(history)]
    return [sentence for sentence in sentences if sentence]


def of_latents(active: int, num: int) -> str:
    """Returns a sentence on the latents that are used."""
    if not active:
        return "No latent is active: the posterior has collapsed, and the decoder ignores z."
    if active == num:
        named = {1: "The only latent is", 2: "Both latents are"}.get(num, f"All {num} latents are")
        return f"{named} active."
    unused = num - active
    noun = "latent carries" if unused == 1 else "latents carry"
    return f"{active} of {num} latents are active; the other {unused} {noun} no information."


def of_codes(values: Mapping[str, Any]) -> str:
    """Returns a sentence on the codes of a discrete model; an empty string for any other.

    Arguments:
        values: Final metrics, or the values of an epoch on validation images.
    """
    if "code_use" not in values:
        return ""
    use, perplexity, rate = (_number(values[key]) for key in ("code_use", "perplexity", "rate"))
    bound = (
        f"The rate is the length of an image's codes under the prior, {rate:.1f} nats or {rate / LOG_2:.0f} bits; it is "
        "part of the ELBO."
    )
    figures = f"{use:.3g} % of the codes are used, with a perplexity of {perplexity:.1f}."
    if use < MIN_USE:
        return (
            f"Codes die: only {figures} A smaller codebook, a larger restart share, or more weight on the commitment uses "
            f"more of them. {bound}"
        )
    return f"{figures} {bound}"


def _number(value: Any) -> float:
    """A value of an epoch, or that of a final metric."""
    return float(value["value"] if isinstance(value, Mapping) else value)


def of_objective(history: Sequence[dict[str, Any]]) -> str:
    """Returns a sentence on an objective that is no bound, of which the last epoch is kept; an empty string for a bound."""
    if "gradient_distortion" not in history[-1]["train"]:
        return ""
    return (
        "It is not trained by a bound of log p(x) alone, so the weights of the last epoch were kept, not those of the best "
        "ELBO. The ELBO is that of the model's own likelihood."
    )


def of_length(history: Sequence[dict[str, Any]]) -> str:
    """Returns a sentence on the kept epoch, and on whether more epochs would help."""
    record, last = kept(history), history[-1]
    if record is None or len(history) < 2:
        return ""
    if record["epoch"] < last["epoch"]:
        return (
            f"The weights of epoch {record['epoch']} of {last['epoch']} were kept; after it the validation ELBO rose no "
            "further, so more epochs would not help."
        )
    elbos = [epoch["valid"]["elbo"] for epoch in history if "elbo" in epoch["valid"]]
    tenth = max(1, len(elbos) // 10)
    rise, whole = elbos[-1] - elbos[-1 - tenth], elbos[-1] - min(elbos)
    span = "the last epoch" if tenth == 1 else f"the last {tenth} epochs"
    if rise > MIN_RISE * whole:
        return f"The validation ELBO still rose by {rise:.2f} nats in {span}: more epochs would help."
    return f"The validation ELBO rose by {max(rise, 0.0):.2f} nats in {span}: more epochs would help little."


def of_generalization(history: Sequence[dict[str, Any]]) -> str:
    """Returns a sentence on the difference of the ELBO of training and validation images at the kept epoch."""
    record = kept(history)
    if record is None or "elbo" not in record["train"]:
        return ""
    gap, elbo = record["train"]["elbo"] - record["valid"]["elbo"], record["valid"]["elbo"]
    if gap > max(MIN_GAP, GAP_SHARE * abs(elbo)):
        fall = elbo - next(epoch["valid"]["elbo"] for epoch in reversed(history) if "elbo" in epoch["valid"])
        above = f"the ELBO of training images is {gap:.2f} nats above that of validation images"
        if fall > MIN_FALL * gap:
            return (
                f"It overfits: {above}, which fell by {fall:.2f} nats after the kept epoch. More or augmented images, or a "
                "smaller network, help."
            )
        return f"It knows its training images better than new ones: {above}. More or augmented images narrow the gap."
    return f"It does not overfit: the ELBO of training and validation images differs by {abs(gap):.2f} nats."
