"""Schedules are pure functions of the time in epochs."""

import pytest

from vaekit.core.errors import ConfigError
from vaekit.core.schedules import Constant, Cosine, Cyclical, Linear, as_schedule


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(value=4.0), {0: 4, 0.3: 4, 1000: 4}),
        (Linear(epochs=10), {0: 0, 2.5: 0.25, 10: 1, 99: 1}),
        (Linear(epochs=4, start=2, end=1), {0: 2, 1: 1.75, 4: 1, 5: 1}),
        (Cosine(epochs=8), {0: 0, 2: 0.1464466, 4: 0.5, 8: 1, 20: 1}),
        (Cyclical(epochs=4), {0: 0, 1: 0.5, 2: 1, 3.9: 1, 4: 0, 5: 0.5, 402: 1}),
        (Cyclical(epochs=4, ramp=1.0), {0: 0, 1: 0.25, 3: 0.75, 4: 0}),
    ],
)
def test_values(schedule: Linear, values: dict[float, float]) -> None:
    for epoch, value in values.items():
        assert schedule(epoch) == pytest.approx(value, abs=1e-6)
        assert schedule(epoch) == schedule(epoch)  # no state: asking does not change the answer


def test_numbers_and_data_stand_for_schedules() -> None:
    assert as_schedule(2) == Constant(value=2)
    assert as_schedule({"name": "linear", "epochs": 5}) == Linear(epochs=5)
    assert as_schedule(Linear(epochs=5).model_dump()) == Linear(epochs=5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "liner", "epochs": 5}, "did you mean 'linear'"),
        ({"name": "linear", "epoch": 5}, "epochs: missing"),
        ({"name": "linear", "epochs": 5, "stat": 1}, "did you mean 'start'"),
        ({"name": "linear", "epochs": 0}, "greater than 0"),
        (-1, "greater than or equal to 0"),
        (float("nan"), "finite"),
        ("soon", "valid number"),
    ],
)
def test_what_is_no_schedule_is_refused(data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_schedule(data)
