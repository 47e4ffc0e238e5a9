"""The final metrics as text: their values, standard errors, units and meanings, and the tables of an evaluation."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaekit.core.errors import RunError
from vaekit.core.progress import print_line
from vaekit.core.rounding import is_rounding, with_error
from vaekit.core.safe_text import printable
from vaekit.evaluation.estimate import Estimate, Metric
from vaekit.evaluation.evaluation_result import METRICS, Evaluation
from vaekit.evaluation.latents.aggregate_posterior import RateDecomposition
from vaekit.evaluation.latents.downstream import AMI, ARI, DownstreamScores
from vaekit.evaluation.latents.encodings import LatentCount
from vaekit.evaluation.likelihood.conditional import NUM_CLASSES, bound_remark, is_conditional, metric_given_class
from vaekit.evaluation.samples.fidelity import Fidelity

MEANINGS = {key: (metric.name, metric.meaning) for key, metric in METRICS.items()}
"""The name and the meaning of each metric by its key, for models that are not class-conditional."""
HIGHER_IS_BETTER = tuple(key for key, metric in METRICS.items() if metric.higher_is_better)
"""The metrics of which a higher value is better."""

NAME_WIDTH = 14
"""The characters of the column of names; longer names widen it."""
MAX_BRACKET_GAP = 0.5
"""The width of the AIS bracket, in nats, above which AIS has not converged."""


def value_of(key: str, number: Mapping[str, Any]) -> str:
    """Returns the value of a metric in a metrics file, with its standard error."""
    return _value(METRICS[key], _result(number))


def unit_of(key: str, number: Mapping[str, Any]) -> str:
    """Returns the unit of a metric in a metrics file, with the number of samples and images for sampled metrics."""
    return _unit(METRICS[key], _result(number))


def meanings_of(metrics: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns the name and the meaning of each metric by its key, for the model of a metrics file.

    A class-conditional model bounds log p(x | class), and the names say so.
    """
    described = {key: metric_given_class(metric) for key, metric in METRICS.items()} if is_conditional(metrics) else METRICS
    return {key: (metric.name, metric.meaning) for key, metric in described.items()}


def class_remark(metrics: Mapping[str, Any]) -> str:
    """Returns what bounds of log p(x | class) in a metrics file say of log p(x); an empty string if they are of log p(x)."""
    return bound_remark(metrics[NUM_CLASSES]) if is_conditional(metrics) else ""


def is_bracket_wide(gap: Estimate) -> bool:
    """Returns whether the AIS bracket is wider than :data:`MAX_BRACKET_GAP`, by two standard errors."""
    return gap.value - 2 * (gap.standard_error or 0.0) > MAX_BRACKET_GAP


def print_metrics(evaluation: Evaluation, console: Console) -> None:
    """Prints the results of an evaluation: metrics with standard errors and units, and tables."""
    data = evaluation.data
    console.print()
    print_line(f"{data.num_images:,} {data.split} images of {data.name}, {data.pixels}: {evaluation.meaning}", console)
    _print_values(evaluation, console)
    if evaluation.num_classes is not None:
        print_line(bound_remark(evaluation.num_classes), console)
    if evaluation.bracket is not None and is_bracket_wide(evaluation.bracket.gap):
        print_line("The AIS bracket is wide: annealing has not converged; more --num-distributions narrow it.", console)
    if evaluation.latents is not None:
        _print_latents(evaluation.latents, console)
    if evaluation.collapse is not None:
        print_line(evaluation.collapse.verdict, console)
    if evaluation.fidelity is not None:
        _print_fidelity(evaluation.fidelity, console)
    if evaluation.usefulness is not None:
        _print_usefulness(evaluation.usefulness, console)
    for part, reason in evaluation.left_out.items():
        print_line(f"without {part}: {reason}", console)


def duration(seconds: float) -> str:
    """Returns a time for people to read, e.g. ``12 min 4 s``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def _result(number: Mapping[str, Any]) -> Estimate | LatentCount:
    """A result from its dictionary in a metrics file."""
    try:
        if "of" in number:
            return LatentCount(number["value"], number["of"], number["threshold"], number["num_images"])
        names = {field.name for field in fields(Estimate)}
        result = Estimate(**{"standard_error": None, **{key: value for key, value in number.items() if key in names}})
        float(result.value)
        return result
    except (KeyError, TypeError, ValueError):
        raise RunError(
            "metrics.json: damaged, it holds something else than estimates; restore it by resuming the run"
        ) from None


def _value(metric: Metric, result: Estimate | LatentCount) -> str:
    if isinstance(result, LatentCount):
        return f"{result.value} of {result.of}"
    return _with_error(result, metric.digits)


def _unit(metric: Metric, result: Estimate | LatentCount) -> str:
    if isinstance(result, LatentCount):
        return f"variance over {result.threshold:g}"
    if not metric.sample_noun:
        return metric.unit
    samples = f"{result.num_samples:,} {metric.sample_noun} each, " if result.num_samples is not None else ""
    steps = f"{result.steps:,} steps, " if result.steps is not None else ""
    is_part = result.num_annealed is not None and result.num_annealed < result.num_images
    part = f"{result.num_annealed:,} of " if is_part else ""
    return f"{metric.unit}, {samples}{steps}{part}{result.num_images:,} images"


def _with_error(estimate: Estimate, digits: int) -> str:
    return with_error(estimate.value, estimate.standard_error, digits)


def _short(estimate: Estimate | None) -> str:
    """A value to the digits of its standard error, or to three digits if that does not decide it; a dash for None."""
    if estimate is None:
        return "–"
    error = estimate.standard_error
    if error is None or is_rounding(estimate.value, error):
        return f"{estimate.value:.3g}" + ("" if error is None else " ± 0")
    return _with_error(estimate, 2)


def _print_values(evaluation: Evaluation, console: Console) -> None:
    """A line for each metric: its name, its value with its standard error, and its unit."""
    metrics = {key: METRICS[key] for key in METRICS if key in evaluation.metrics}
    if evaluation.num_classes is not None:
        metrics = {key: metric_given_class(metric) for key, metric in metrics.items()}
    width = max([NAME_WIDTH, *(len(metric.name) + 1 for metric in metrics.values())])
    for key, metric in metrics.items():
        result = evaluation.metrics[key]
        print_line(f"{metric.name:<{width}}{_value(metric, result):>18}  {_unit(metric, result)}".rstrip(), console)


def _print_latents(latents: RateDecomposition, console: Console) -> None:
    """The parts of the rate."""
    num = latents.rate.num_images
    parts = {
        "rate, KL(q(z|x) ‖ p(z))": latents.rate,
        "mutual information of x and z": latents.mutual_information,
        "KL(q(z) ‖ p(z)) of the aggregate": latents.aggregate_kl,
        "total correlation": latents.total_correlation,
        "KL of each latent's aggregate, summed": latents.dimension_wise_kl,
    }
    table = _table(f"The rate over {num:,} images", latents.rate.unit, "value")
    for name, part in parts.items():
        if part is not None:
            table.add_row(name, _with_error(part, 2))
    console.print(table)
    if latents.saturated:
        limit = f"log N = {latents.log_num_images:.2f}"
        print_line(
            f"The mutual information is near its upper limit for {num:,} images, {limit}: it is a lower bound.", console
        )


def _print_fidelity(fidelity: Fidelity, console: Console) -> None:
    """The comparisons with training images."""
    num = f"{fidelity.num_images:,}"
    title = f"{num} images against as many of the train split, by {fidelity.extractor.description}"
    table = _table(title, "", *fidelity.rows)
    comparisons = [list(row.by_name().values()) for row in fidelity.rows.values()]
    for column, estimates in zip(fidelity.columns, zip(*comparisons, strict=True), strict=True):
        table.add_row(column, *map(_short, estimates))
    console.print(table)
    if fidelity.few:
        head, dim = fidelity.columns[0], fidelity.extractor.dim
        print_line(
            f"{head} of {num} images by {dim:,} features is dominated by its bias: compare it with test against train only.",
            console,
        )


def _print_usefulness(usefulness: DownstreamScores, console: Console) -> None:
    """The scores of downstream tasks on the latents and on pixels."""
    representations = {
        "posterior means": usefulness.posterior_means.by_name(),
        "pixels": usefulness.pixels.by_name(),
        "PCA": usefulness.pca.by_name(),
    }
    table = _table("Downstream tasks", "", *representations)
    for task in representations["pixels"]:
        table.add_row(task, *(_short(scores[task]) for scores in representations.values()))
    console.print(table)
    if usefulness.no_clustering:
        print_line(f"without {ARI} and {AMI}: {usefulness.no_clustering}", console)


def _table(title: str, *heads: str) -> Table:
    """A table without borders, which fits a narrow terminal and breaks no word of its heads."""
    shown = Text(printable(title), style="table.title")  # a string would be read as markup
    table = Table(title=shown, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    for head in heads:
        table.add_column(head, min_width=max(map(len, head.split()), default=0))
    return table
