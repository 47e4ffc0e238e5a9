"""Values with their standard errors as text: two significant digits of the error, which is 0 where it is one of rounding."""

import json
import math

import pytest
from rich.console import Console

from vaekit.core.rounding import with_error
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.latents.downstream import DownstreamScores, TaskScores, TaskSettings
from vaekit.presentation import metric_text
from vaekit.presentation.metric_text import value_of

CASES = [
    (-91.2345, 0.4512, "-91.23 ± 0.45"),
    (0.200000000000000011, 0.000000000000000008, "0.20 ± 0"),
    (1.0, 0.0, "1.00 ± 0"),
    (41843.7, 803.9, "41,840 ± 800"),
    (232.4, 106.6, "230 ± 110"),
    (33.114, 1.462, "33.1 ± 1.5"),
    (17.21834, 0.00123, "17.2183 ± 0.0012"),
    (0.5, 0.0996, "0.50 ± 0.10"),
    (99.96, 9.96, "100 ± 10"),
    (0.00012345, 0.0000213, "0.000123 ± 0.000021"),
    (1741.4, 16.2, "1,741 ± 16"),
    (-43130.2, 804.4, "-43,130 ± 800"),
    (-0.0004, 0.02, "0.000 ± 0.020"),
    (1e-13, 2e-13, "0.00 ± 0"),
    (1e12, 3.0, "1,000,000,000,000.00 ± 0"),
    (math.nan, math.nan, "nan ± nan"),
    (math.inf, 1.0, "inf ± 1.00"),
]


@pytest.mark.parametrize(("value", "error", "text"), CASES)
def test_a_value_is_rounded_to_two_digits_of_its_error(value: float, error: float, text: str) -> None:
    assert with_error(value, error, 2) == text


def test_a_value_without_an_error_has_the_digits_of_its_metric() -> None:
    assert with_error(-91.2345, None, 2) == "-91.23"
    assert with_error(-91.2345, None, 0) == "-91"


def test_metrics_of_a_file_are_rounded_so() -> None:
    assert value_of("elbo", {"value": -91.2345, "standard_error": 1.4512, "unit": "", "num_images": 3}) == "-91.2 ± 1.5"
    assert value_of("elbo", {"value": -91.2345, "unit": "", "num_images": 1}) == "-91.23"


def test_values_in_tables_are_rounded_so() -> None:
    short = metric_text._short
    assert short(Estimate(0.2, 8e-18, "", 5)) == "0.2 ± 0"
    assert short(Estimate(0.7512, 0.0341, "", 5)) == "0.751 ± 0.034"
    assert short(Estimate(12.3456, None, "", 1)) == "12.3"
    assert short(None) == "–"


def test_printed_tables_hold_no_digits_of_rounding() -> None:
    console = Console(width=100, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        metric_text._print_usefulness(scores_of_one_image_per_class(), console)
    text = captured.get()
    assert "0.2 ± 0" in text
    assert "0000" not in text
    assert "without ARI and AMI: each of the 5 test images has a class of its own" in text
    assert json.dumps(text).count("ARI") == 2


def scores_of_one_image_per_class() -> DownstreamScores:
    share = Estimate(0.2, 8e-18, "share of images", 5)
    scores = TaskScores(share, share, None, None)
    reason = "each of the 5 test images has a class of its own, so that any 5 clusters equal the classes"
    return DownstreamScores(scores, scores, scores, share, TaskSettings(5, 5, 2, 5, 5, 5, False), reason)
