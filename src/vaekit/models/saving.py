"""Writing a model: its parts as data, and its weights; :mod:`vaekit.models.serialization` loads what is written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vaekit.core.config import INFERRED, Section, Spec, describe
from vaekit.core.errors import ConfigError
from vaekit.core.files import write_text
from vaekit.core.registry import Registry
from vaekit.core.tensor_files import write_tensors
from vaekit.data.preprocessing import Preprocessing
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.models.conditions import ClassLabel, Condition
from vaekit.models.folder_format import CONFIG, FORMAT, WEIGHTS
from vaekit.networks import DECODERS, ENCODERS
from vaekit.networks.base import Shape

CONDITIONS: Registry[Condition] = Registry("CONDITIONS", {"class-label": ClassLabel})


class VAEConfig(Section):
    """A VAE as data: the shape of an image, the number of latents, a specification of each part, and preprocessing.

    The number of latents of a ladder follows from its decoder, so that a recipe leaves it out.
    """

    format: int = FORMAT
    shape: Shape
    latent_dim: int | None = None
    encoder: Spec
    posterior: Spec
    prior: Spec
    decoder: Spec
    likelihood: Spec
    condition: Spec | None = None
    preprocessing: Preprocessing | None = None


class Composition(Protocol):
    """A model that is a composition of parts, as :class:`vaekit.VAE` is."""

    encoder: Any
    posterior: Any
    prior: Any
    decoder: Any
    likelihood: Any
    condition: Any
    preprocessing: Preprocessing | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image."""

    @property
    def latent_dim(self) -> int:
        """D, the number of latents."""


def describe_parts(model: Composition) -> VAEConfig:
    """Describes a composition of parts as data.

    Raises:
        ConfigError: If a part is not registered.
    """
    return VAEConfig(
        shape=model.shape,
        latent_dim=model.latent_dim,
        encoder=describe(model.encoder, ENCODERS, inferred=INFERRED),
        posterior=describe(model.posterior, POSTERIORS, inferred=INFERRED),
        prior=describe(model.prior, PRIORS, inferred=INFERRED),
        decoder=describe(model.decoder, DECODERS, inferred=INFERRED),
        likelihood=describe(model.likelihood, LIKELIHOODS),
        condition=None if model.condition is None else describe(model.condition, CONDITIONS),
        preprocessing=model.preprocessing,
    )


def base_of(kind: type[nn.Module]) -> type[nn.Module]:
    """Returns the class of this package that a model's class is, or is derived from: the one that a file can name."""
    return next(base for base in kind.__mro__ if base.__module__.startswith(f"{__package__}."))


def refuse_overridden(kind: type[nn.Module], base: type[nn.Module]) -> None:
    """Refuses a subclass that changes what its base does; it may have a constructor and more methods.

    Raises:
        ConfigError: If it does, since a loaded model is of the base.
    """
    own = {name for ancestor in kind.__mro__[: kind.__mro__.index(base)] for name in vars(ancestor)}
    if changed := sorted(name for name in own if hasattr(base, name) and not name.startswith(("__", "_abc"))):
        raise ConfigError(
            f"model: {kind.__name__} has its own {', '.join(changed)}, which a saved model would lose; write it as a "
            "part and register that, as docs/extending.md shows"
        )


def write_model(config: VAEConfig, weights: Mapping[str, Tensor], folder: Path, belongs_to: str | None = None) -> None:
    """Writes a model's folder; a reader never sees a half-written file, and files that hold the same already stay.

    Arguments:
        config: The parts.
        weights: The weights.
        folder: The folder, which is made.
        belongs_to: A hash of the run that the weights are of, which the file then carries.

    Raises:
        OSError: If the folder cannot be written.
    """
    text = config.model_dump_json(indent=2)
    run = {} if belongs_to is None else {"belongs_to": belongs_to}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, text + "\n")
    write_tensors(folder / WEIGHTS, weights, {"format": "pt", "config": config_hash(text), **run})


def config_hash(text: str) -> str:
    """A hash of a configuration that does not depend on white space."""
    return hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()[:16]
