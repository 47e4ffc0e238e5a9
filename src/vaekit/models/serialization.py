"""A model on disk: ``config.json``, which names its parts, and ``model.safetensors``, its weights.

Nothing is executed and nothing is unpickled when a model is loaded: a configuration can only name registered classes,
and weights are plain numbers. The weights carry a hash of their configuration.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file

from vaekit.core.config import Registry, Section, Spec, build, describe, validate
from vaekit.core.errors import ConfigError, ModelError, RunError
from vaekit.core.files import atomic_path, write_text
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.models.conditions import ClassLabel, Condition
from vaekit.models.model import Model
from vaekit.models.vae import VAE
from vaekit.networks import DECODERS, ENCODERS
from vaekit.networks.base import Shape

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = 2
"""The version of what is written to model and run folders; a folder of another version is refused."""
CONDITIONS: Registry[Condition] = Registry("CONDITIONS", {"class-label": ClassLabel})
INFERRED = ("shape", "latent_dim", "num_features", "num_maps", "context_dim")
"""Constructor arguments of a part that follow from other parts, and are therefore not written."""


class VAEConfig(Section):
    """A VAE as data: the shape of an image, the number of latents, and a specification of each part."""

    format: int = FORMAT
    shape: Shape
    latent_dim: int
    encoder: Spec
    posterior: Spec
    prior: Spec
    decoder: Spec
    likelihood: Spec
    condition: Spec | None = None


def build_vae(config: VAEConfig, place: str = "model") -> VAE:
    """Builds a VAE from data.

    Raises:
        ConfigError: If a part has no such name or its arguments are wrong; ``place`` says where they stand.
    """
    if min(config.shape, default=0) < 1:
        raise ConfigError(f"{place}.shape: sides must be at least 1, got {list(config.shape)}")
    if config.latent_dim < 1:
        raise ConfigError(f"{place}.latent_dim: must be at least 1, got {config.latent_dim}")
    shape, latent_dim = config.shape, config.latent_dim
    condition = None
    if config.condition is not None:
        condition = build(CONDITIONS, config.condition, place=f"{place}.condition")
    context_dim = 0 if condition is None else condition.context_dim
    likelihood = build(LIKELIHOODS, config.likelihood, place=f"{place}.likelihood")
    if len(shape) != likelihood.event_dim:
        raise ConfigError(
            f"{place}.shape: the likelihood needs {likelihood.event_dim} dimensions, got {list(shape)}; choose another"
        )
    encoder = build(ENCODERS, config.encoder, place=f"{place}.encoder", shape=shape, context_dim=context_dim)
    posterior = build(
        POSTERIORS, config.posterior, place=f"{place}.posterior", num_features=encoder.num_features, latent_dim=latent_dim
    )
    prior = build(PRIORS, config.prior, place=f"{place}.prior", latent_dim=latent_dim, context_dim=context_dim, shape=shape)
    decoder = build(
        DECODERS,
        config.decoder,
        place=f"{place}.decoder",
        latent_dim=latent_dim,
        shape=shape,
        num_maps=likelihood.num_maps(shape[0]),
        context_dim=context_dim,
    )
    return VAE(encoder, posterior, prior, decoder, likelihood, condition)


def describe_vae(model: Model) -> VAEConfig:
    """Describes a VAE as data, the inverse of :func:`build_vae`.

    Raises:
        ConfigError: If the model is no composition of parts, or a part is not registered.
    """
    if not isinstance(model, VAE):
        kind = type(model).__name__
        raise ConfigError(f"model: {kind} is no VAE, and only a composition of registered parts can be written to a folder")
    return VAEConfig(
        shape=model.shape,
        latent_dim=model.latent_dim,
        encoder=describe(model.encoder, ENCODERS, inferred=INFERRED),
        posterior=describe(model.posterior, POSTERIORS, inferred=INFERRED),
        prior=describe(model.prior, PRIORS, inferred=INFERRED),
        decoder=describe(model.decoder, DECODERS, inferred=INFERRED),
        likelihood=describe(model.likelihood, LIKELIHOODS),
        condition=None if model.condition is None else describe(model.condition, CONDITIONS),
    )


def save_vae(model: Model, folder: Path) -> None:
    """Writes a model's folder; a reader never sees a half-written file.

    Raises:
        ConfigError: If a part is not registered.
    """
    config = describe_vae(model).model_dump_json(indent=2)
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as partial:
        save_file(weights, partial, metadata={"format": "pt", "config": _hash(config)})
        write_text(folder / CONFIG, config + "\n")


def load_vae(folder: Path) -> VAE:
    """Loads a model from its folder, on the CPU and in evaluation mode.

    Raises:
        ModelError: If a file is missing, cut short, or the two do not belong together.
        RunError: If the folder has another format version.
        ConfigError: If the configuration names a part that is not registered, or a wrong argument.
    """
    text, data = _read_config(folder / CONFIG)
    check_format(data, folder)
    try:
        model = build_vae(validate(VAEConfig, data, str(folder / CONFIG)), str(folder / CONFIG))
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # what torch raises for sizes that no machine has
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder / CONFIG}: the model that it describes cannot be built ({reason})") from None
    path = folder / WEIGHTS
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: missing, so the model has no weights") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged or cut short ({error}); copy it again or train anew") from None
    if metadata.get("config", _hash(text)) != _hash(text):
        raise ModelError(f"{path}: belongs to another {CONFIG} than the one beside it; copy both from one run")
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if {key: tuple(value.shape) for key, value in weights.items()} != expected:
        raise ModelError(f"{path}: its weights do not fit {CONFIG}; copy both from one run")
    model.load_state_dict(weights)
    return model.eval()


def check_format(data: Any, folder: Path) -> None:
    """Refuses a folder that was written in another version of the format.

    Arguments:
        data: What its ``config.json`` or ``environment.json`` holds; the first version had no ``format``.
        folder: The folder, for the message.

    Raises:
        RunError: If the version is another.
    """
    version = data.get("format", 1) if isinstance(data, dict) else FORMAT
    if version != FORMAT:
        remedy = "train it again" if version in range(FORMAT) else "update vaekit"
        raise RunError(f"{folder}: written in version {version} of the folder format, this is version {FORMAT}; {remedy}")


def _read_config(path: Path) -> tuple[str, Any]:
    try:
        text = path.read_text()
        return text, json.loads(text)
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: no {CONFIG} there, so it is no model folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a configuration that can be read ({error})") from None


def _hash(text: str) -> str:
    """A hash of a configuration that does not depend on white space."""
    return hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()[:16]
