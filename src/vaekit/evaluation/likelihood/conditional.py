r"""Log-probabilities of class-conditional models, which are those of an image **given its class** y.

.. math:: \log p(x) = \log \sum_{y'} p(y') \, p(x | y') \ge \log p(x | y) + \log p(y)

So what such a model reports is no bound of log p(x), and is not comparable with that of a model without classes. With K equally
probable classes, log p(x | class) minus log K is a bound of log p(x).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaekit.evaluation.estimate import Metric
from vaekit.models import Model

NUM_CLASSES = "num_classes"
"""The key of a metrics file under which the number of classes of a class-conditional model is."""
CONDITIONED = {
    "log p(x|z)": "log p(x|z, class)",
    "log p(x)": "log p(x | class)",
    "q(z|x)": "q(z|x, class)",
    "p(z)": "p(z | class)",
}
"""The distributions of a model, and what they are in a class-conditional one."""


def num_classes_of(model: Model) -> int | None:
    """Returns the number of classes that a model is conditional on; None for a model without classes."""
    return None if model.condition is None else len(model.condition.classes)


def is_conditional(metrics: Mapping[str, Any]) -> bool:
    """Returns whether the bounds in a metrics file are of log p(x | class) and not of log p(x)."""
    return isinstance(metrics.get(NUM_CLASSES), int)


def given_class(text: str) -> str:
    """Returns a text on log p(x) as one on log p(x | class)."""
    for plain, conditioned in CONDITIONED.items():
        text = text.replace(plain, conditioned)
    return text


def metric_given_class(metric: Metric) -> Metric:
    """Returns a metric as that of a class-conditional model: with another name and meaning where it is one of log p(x)."""
    return replace(metric, name=given_class(metric.name), meaning=given_class(metric.meaning))


def describe_classes(num: int) -> str:
    """Returns what the log-probabilities of a model of ``num`` classes are conditional on, to follow their description."""
    return f"given the class of each image, one of {num:,}"


def bound_remark(num: int) -> str:
    """Returns a sentence on what log p(x | class) of a model of ``num`` classes says of log p(x)."""
    return (
        "The model is told the class of each image, so its bounds are of log p(x | class): do not compare them with log p(x) of "
        f"other models. With {num:,} equally probable classes, log p(x) ≥ log p(x | class) − log {num:,}, which is "
        f"{math.log(num):.2f} nats less."
    )
