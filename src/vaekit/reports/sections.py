"""What the pages of one run and of several runs share: learning curves, and the text of final metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaekit.plots import curve
from vaekit.plots.curves import ON_BOTH_SPLITS, QUANTITIES
from vaekit.reports.page import Section, embed_figure


def learning_curves_section(histories: Mapping[str, Sequence[dict[str, Any]]]) -> Section:
    """Returns the learning curves of one run, with both splits, or of several runs.

    Arguments:
        histories: The records of each run, by its name.
    """
    several = len(histories) > 1
    last_records = {name: history[-1] for name, history in histories.items() if history}
    figures = []
    for quantity, (title, unit) in QUANTITIES.items():
        split = "valid" if quantity in ON_BOTH_SPLITS else "train"
        values = {name: record.get(quantity, record[split].get(quantity)) for name, record in last_records.items()}
        last = [f"{name + ': ' if several else ''}{value:.4g}" for name, value in values.items() if value is not None]
        alt = f"Line plot of {title} ({unit}) against epochs; at the end {', '.join(last) or 'no value'}."
        figures.append(embed_figure(curve(histories, quantity), alt))
    text = (
        "Quantities that are measured on both splits are those of the validation split, the others those of training."
        if several
        else "The training and validation curves diverge when the model overfits."
    )
    return Section("Learning curves", text, figures, "figures")


def describe_protocol(metrics: Mapping[str, Any]) -> str:
    """Returns a sentence on the images of the final metrics, and on what is called a likelihood."""
    data = metrics["data"]
    images = f"{data['num_images']:,} {data['split']} images of {data['name']}"
    return f"Measured on {images}, {data['pixels']}: {metrics['meaning']}."


def typeset(number: str) -> str:
    """Returns a number with a minus sign in place of a hyphen."""
    return number.replace("-", "−")
