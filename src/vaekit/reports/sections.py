"""What the pages of one run and of several runs share: learning curves, and the text of final metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaekit.evaluation.likelihood.conditional import is_conditional
from vaekit.plots import curve
from vaekit.plots.curves import ON_BOTH_SPLITS, changing, constants, title_of, value_of_epoch
from vaekit.presentation.metric_text import MEANINGS, class_remark, meanings_of
from vaekit.reports.page import LegendEntry, PageImage, Section, embed_figure


def learning_curves_section(
    histories: Mapping[str, Sequence[dict[str, Any]]],
    groups: Mapping[str, int] | None = None,
    legend: Sequence[LegendEntry] = (),
) -> Section:
    """Returns the learning curves of one run, with both splits, or of several runs.

    The ELBO and its two terms are shown, and the other quantities that change are folded.

    Arguments:
        histories: The records of each run, by its name.
        groups: The number of the color of each run, by its name.
        legend: The legend of all figures of several runs.
    """
    several = len(histories) > 1
    names = changing(list(histories.values()))
    shown = [_figure(histories, name, groups) for name in names if name in ON_BOTH_SPLITS]
    others = [_figure(histories, name, groups) for name in names if name not in ON_BOTH_SPLITS]
    text = (
        "Quantities that are measured on both splits are those of the validation split, the others those of training."
        if several
        else "Training and validation diverge when the model overfits. The dashed line is the epoch whose weights were kept."
    )
    if still := constants(list(histories.values())):
        text += f" Constant: {', '.join(still)}."
    return Section(
        "Learning curves", text, shown, "figures", wide=True, more=others, more_title="Other curves", legend=legend
    )


def _figure(histories: Mapping[str, Sequence[dict[str, Any]]], quantity: str, groups: Mapping[str, int] | None) -> PageImage:
    """The curve of a quantity, with its last values as alternative text."""
    title, unit = title_of(quantity)
    ends = {name: value_of_epoch(history[-1], quantity, "valid") for name, history in histories.items() if history}
    several = len(histories) > 1
    last = [f"{name + ': ' if several else ''}{value:.4g}" for name, value in ends.items() if value is not None]
    alt = f"Line plot of {title} ({unit}) against epochs; at the end {', '.join(last) or 'no value'}."
    return embed_figure(curve(histories, quantity, groups, legend=False), alt)


def names_of(metrics: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns the name and the meaning of each metric by its key; the names of numbers given the class say so."""
    described = meanings_of(metrics)
    if not is_conditional(metrics):
        return described
    return {
        key: (name if (name, meaning) == MEANINGS[key] or name != MEANINGS[key][0] else _given_class(key, name), meaning)
        for key, (name, meaning) in described.items()
    }


def _given_class(key: str, name: str) -> str:
    return f"{name} of log p(x | class)" if key == "elbo" else f"{name}, given the class"


def describe_protocol(metrics: Mapping[str, Any]) -> str:
    """Returns a sentence on the images of the final metrics, and on what is called a likelihood."""
    data = metrics["data"]
    images = f"{data['num_images']:,} {data['split']} images of {data['name']}"
    remark = class_remark(metrics)
    return f"Measured on {images}, {data['pixels']}: {metrics['meaning']}." + (f" {remark}" if remark else "")
