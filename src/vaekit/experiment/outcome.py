"""What a finished run came to: its result beside what the recipe expects, why it ended, which epoch was kept, what next."""

from collections.abc import Iterator

from vaekit.core.rounding import with_error
from vaekit.evaluation.evaluation_result import METRICS, Evaluation
from vaekit.evaluation.latents.encodings import LatentCount

TOLERANCE, NUM_ERRORS = 0.03, 2.0
"""A result is as expected if it differs by no more than this share, or by so many standard errors."""
COUNT_SHARE = 0.1
"""The share of an expected number of active latents that counts as one standard error, which a count has none of."""
LATE = 0.05
"""The share of the epochs at the end within which a best epoch means that the ELBO was still rising."""


def comparison_lines(expected: dict[str, float], evaluation: Evaluation) -> Iterator[str]:
    """Yields a line for each expected metric: the result, what is expected, and whether it is."""
    for key, value in expected.items():
        if (result := evaluation.metrics.get(key)) is None or key not in METRICS:
            continue
        metric = METRICS[key]
        if isinstance(result, LatentCount):
            found, shown, error = float(result.value), f"{result.value} of {result.of}", COUNT_SHARE * value
        else:
            found, error = result.value, result.standard_error or 0.0
            shown = with_error(found, result.standard_error, metric.digits)
        verdict = _verdict(found - value, value, error, metric.higher_is_better)
        yield f"{metric.name:<14}{shown:>18}  {verdict} ({value:g})"


def _verdict(difference: float, expected: float, error: float, higher_is_better: bool | None) -> str:
    if abs(difference) <= max(TOLERANCE * abs(expected), NUM_ERRORS * error):
        return "as expected"
    if higher_is_better is None:
        return "other than expected"
    return "better than expected" if (difference > 0) == higher_is_better else "worse than expected"


def epoch_lines(best_epoch: int, epoch: int, max_epochs: int) -> Iterator[str]:
    """Yields lines on why the training ended, which epoch's model is kept, and whether more epochs would help.

    Arguments:
        best_epoch: The epoch of the best validation ELBO.
        epoch: The last epoch.
        max_epochs: The number of epochs that was asked for.
    """
    if epoch < max_epochs:
        yield early_stop(best_epoch, epoch, max_epochs)
    else:
        yield f"ended after all {epoch} epochs" if epoch > 1 else "ended after its one epoch"
    yield f"kept epoch {best_epoch} of {epoch}, the best by validation ELBO"
    if may_rise(best_epoch, epoch, max_epochs):
        yield "it was still rising: more epochs may help:"
    else:
        yield "it has not risen since: more epochs would not help"


def last_epoch_lines(epoch: int) -> Iterator[str]:
    """Yields lines on which epoch's model is kept, for an objective that keeps the last one."""
    yield f"ended after all {epoch} epochs" if epoch > 1 else "ended after its one epoch"
    yield f"kept epoch {epoch}, the last: the loss is no bound of log p(x), so no epoch is the best by validation ELBO"


def early_stop(best_epoch: int, epoch: int, max_epochs: int) -> str:
    """Returns why a training ended before its last epoch; arguments as :func:`epoch_lines`."""
    return f"stopped early after epoch {epoch} of {max_epochs}: no better validation ELBO since epoch {best_epoch}"


def may_rise(best_epoch: int, epoch: int, max_epochs: int) -> bool:
    """Returns whether the validation ELBO was still rising when the epochs were over; arguments as :func:`epoch_lines`."""
    return epoch >= max_epochs and epoch - best_epoch <= LATE * epoch
