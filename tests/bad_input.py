"""Invalid input that tests write, and small models to test it with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

import vaekit
from vaekit.core.errors import VaekitError
from vaekit.core.tensor_files import read_header, read_tensors, write_tensors
from vaekit.distributions import LIKELIHOODS, DiagonalGaussian, StandardNormal
from vaekit.models import ClassLabel
from vaekit.models.saving import config_hash
from vaekit.networks import MLPDecoder, MLPEncoder

Make = Callable[[Path], object]
"""Writes something to a path."""
HUGE = 10**15
"""More bytes or steps than any machine has."""


def small_model(likelihood: str = "bernoulli", classes: int | None = None) -> vaekit.VAE:
    """A very small VAE of images of shape (1, 4, 5)."""
    shape, context = (1, 4, 5), classes or 0
    return vaekit.VAE(
        MLPEncoder(shape, context, hidden=[6]),
        DiagonalGaussian(6, 2),
        StandardNormal(2, context),
        MLPDecoder(2, shape, 1, context, hidden=[6]),
        LIKELIHOODS[likelihood](),
        ClassLabel([f"class {index}" for index in range(classes)]) if classes else None,
    )


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["mlp", "conv", "bernoulli", "gaussian", "pixel", "os.system", "linear", "class-label", "1e400"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def result_or_message(call: Callable[[], Any]) -> Any:
    """Returns the result of a call, or the message of the VaekitError that it raises, which must be one line."""
    try:
        return call()
    except VaekitError as error:
        message = str(error)
    assert message.splitlines() == [message]
    return message


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random gray levels."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write_image(path: Path, size: int = 8) -> Path:
    """Writes an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(size, size)).save(path)
    return path


def truncate(path: Path, keep: float) -> None:
    """Truncates a file to a share of its size."""
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


def forge_config(folder: Path, config: Any) -> None:
    """Replaces the configuration of a model folder, and signs its weights with the new one as an attacker would."""
    text = json.dumps(config)
    (folder / "config.json").write_text(text)
    weights = folder / "model.safetensors"
    header = read_header(weights)
    write_tensors(weights, read_tensors(weights), header.metadata | {"config": config_hash(text)})


def edit_json(path: Path, **changes: Any) -> None:
    """Changes values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
