"""The recipe of training a model that was built in Python."""

from collections.abc import Mapping
from typing import Any

from vaekit.core.config import Spec
from vaekit.models import Model, describe_vae
from vaekit.runs.names import folder_name
from vaekit.runs.recipe import Recipe, complete


def recipe_of(model: Model, name: str, overrides: Mapping[str, Any], parts: Mapping[str, Spec]) -> Recipe:
    """Returns the recipe of training a model that was built in Python.

    Raises:
        ConfigError: If a part of the model is not registered, or an override is wrong.
    """
    described = describe_vae(model).model_dump(exclude={"format", "shape", "condition", "preprocessing"})
    data: dict[str, Any] = {
        "name": folder_name(name),
        "title": f"{type(model).__name__} built in Python",
        "data": {"name": name},
        "model": described | {"conditional": model.condition is not None},
    }
    return complete({**data, **parts}, overrides)
