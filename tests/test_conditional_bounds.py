"""The bounds of a class-conditional model are of log p(x | class): named so, told apart, and never ranked with others."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.test_contracts import make_vae, pixels
from vaekit.data import ImageSet
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.evaluation_result import METRICS, Evaluation
from vaekit.evaluation.likelihood.bounds import meaning
from vaekit.evaluation.likelihood.conditional import is_conditional
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.experiment.score import describe_scores
from vaekit.presentation.metric_text import class_remark, meanings_of, print_metrics
from vaekit.reports.metric_table import Entry, columns_of, rows_of

CLASSES = ("a", "b", "c")
CONFIG = replace(BRIEF, num_samples=7, max_images=None)


def labeled_images(num: int = 12) -> ImageSet:
    return ImageSet(pixels(num), torch.arange(num) % 3, CLASSES)


def evaluated(classes: list[str] | None, **changes: Any) -> Evaluation:
    return evaluate_model(make_vae(classes=classes), labeled_images(), config=replace(CONFIG, **changes))


def printed(evaluation: Evaluation) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        print_metrics(evaluation, console)
    return captured.get()


def test_a_conditional_bound_is_not_called_log_px() -> None:
    text = printed(evaluated(list(CLASSES)))
    lines = {line.split("  ")[0] for line in text.splitlines()}
    assert "log p(x | class), IW" in lines
    assert "log p(x), IW" not in text
    assert "given the class of each image, one of 3" in text
    assert f"log p(x) ≥ log p(x | class) − log 3, which is {math.log(3):.2f} nats less" in text
    plain = printed(evaluated(None))
    assert "log p(x), IW" in {line.split("  ")[0] for line in plain.splitlines()}
    assert "class" not in plain


def test_metrics_files_say_what_is_conditional() -> None:
    conditional, plain = evaluated(list(CLASSES)).to_data(), evaluated(None).to_data()
    assert conditional["num_classes"] == 3
    assert (is_conditional(conditional), is_conditional(plain)) == (True, False)
    assert "num_classes" not in plain
    assert class_remark(plain) == ""
    assert "log 3" in class_remark(conditional)


def test_every_meaning_of_log_px_is_conditional() -> None:
    named = meanings_of({"num_classes": 3})
    assert named.keys() == METRICS.keys()
    assert not [text for pair in named.values() for text in pair if "log p(x)" in text or "p(x|z)" in text]
    assert named["elbo"][1].startswith("A lower bound of log p(x | class)")
    assert meanings_of({})["elbo"][1].startswith("A lower bound of log p(x)")


def test_a_conditional_run_is_never_ranked_with_others() -> None:
    conditional, plain = evaluated(list(CLASSES)).to_data(), evaluated(None).to_data()
    conditional["elbo"]["value"] = plain["elbo"]["value"] + 1000
    assert best_of([conditional, plain]) == [set(), set()]
    other = conditional | {"elbo": conditional["elbo"] | {"value": plain["elbo"]["value"]}}
    best = best_of([conditional, plain, other])
    assert [("elbo", True) in run for run in best] == [True, False, False]
    assert best[1] == set()


def best_of(runs: list[dict[str, Any]]) -> list[set[tuple[str, bool]]]:
    """The bounds of each run that the table marks as the best, with whether their column is of conditional models."""
    columns = columns_of(runs)
    rows = rows_of([Entry(str(number), "", [run], number) for number, run in enumerate(runs)], columns)
    bounds = ("elbo", "log_likelihood")
    return [{(at.key, at.conditional) for at, cell in row.cells.items() if cell.best and at.key in bounds} for row in rows]


def test_models_of_other_numbers_of_classes_are_not_compared() -> None:
    images = labeled_images()
    assert (
        len({meaning(make_vae(classes=classes), images) for classes in (None, ["a", "b", "c"], ["a", "b", "c", "d"])}) == 3
    )


@pytest.mark.parametrize("max_images", [5, None])
def test_the_gap_of_the_bounds_is_the_difference_of_two_printed_numbers(max_images: int | None) -> None:
    evaluation = evaluated(None, max_images=max_images)
    values = {
        line.split("  ")[0]: float(line.split("  ", 1)[1].split("±")[0].replace(",", ""))
        for line in printed(evaluation).splitlines()
        if "±" in line
    }
    elbo = values["ELBO" if max_images is None else "ELBO, subset"]
    assert values["log p(x), IW"] - elbo == pytest.approx(values["IW − ELBO"], abs=0.21)  # of three numbers that are rounded
    assert ("ELBO, subset" in values) == (max_images is not None)
    numbers = evaluation.to_data()
    same = numbers["elbo" if max_images is None else "elbo_subset"]
    gap = numbers["log_likelihood"]["value"] - same["value"]
    assert numbers["iw_gap"]["value"] == pytest.approx(gap, abs=1e-4)
    assert same["num_images"] == numbers["iw_gap"]["num_images"] == (max_images or 12)


def test_scores_of_a_conditional_model_are_named_so() -> None:
    plain, conditional = describe_scores(make_vae()), describe_scores(make_vae(classes=CLASSES))
    assert plain["log_px"] == "log p(x)"
    assert conditional["log_px"] == "log p(x | class)"
    assert not [text for text in conditional.values() if "log p(x)" in text]
