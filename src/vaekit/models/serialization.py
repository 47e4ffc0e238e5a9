"""A model on disk: ``config.json``, which names its parts, and ``model.safetensors``, its weights.

The configuration also says how the images were prepared that the model was trained on.

Nothing is executed and nothing is unpickled when a model is loaded: a configuration can only name registered classes,
and weights are plain numbers. The weights carry a checksum and hashes of the configuration and of the run that they are of.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.core.config import INFERRED, build, check, validate
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.files import require_regular
from vaekit.core.memory import limit_allocations
from vaekit.core.registry import lookup
from vaekit.core.rng import fixed_seed
from vaekit.core.tensor_files import DTYPES, DamagedFile, Header, first_not_finite, read_header, read_tensors
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.models.folder_format import CHECKSUMS_SINCE, CONFIG, WEIGHTS, check_format
from vaekit.models.ladder import LadderVAE
from vaekit.models.model import Model
from vaekit.models.saving import (
    CONDITIONS,
    VAEConfig,
    base_of,
    config_hash,
    describe_parts,
    refuse_overridden,
    write_model,
)
from vaekit.models.vae import VAE
from vaekit.networks import DECODERS, ENCODERS, LadderDecoder
from vaekit.networks.ladder_networks import ladder_sizes

ALLOCATION_SLACK = 2**28
"""The bytes that building a model may take beyond its weights, for constants."""
KEEP_ARGUMENTS = (
    "a part keeps each constructor argument in an attribute of its name, and has the weights that follow from them"
)
"""What makes a part savable, in messages."""
MAX_REASON = 300
"""The most characters of a reason that a message quotes."""


def build_vae(config: VAEConfig, place: str = "model") -> VAE:
    """Builds a VAE from data.

    Raises:
        ConfigError: If a part has no such name or its arguments are wrong; ``place`` says where they stand.
    """
    if min(config.shape, default=0) < 1:
        raise ConfigError(f"{place}.shape: sides must be at least 1, got {list(config.shape)}")
    shape, (latent_dim, top_dim) = config.shape, _latent_dims(config, place)
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
    prior = build(PRIORS, config.prior, place=f"{place}.prior", latent_dim=top_dim, context_dim=context_dim, shape=shape)
    decoder = build(
        DECODERS,
        config.decoder,
        place=f"{place}.decoder",
        latent_dim=latent_dim,
        shape=shape,
        num_maps=likelihood.num_maps(shape[0]),
        context_dim=context_dim,
    )
    kind = LadderVAE if isinstance(decoder, LadderDecoder) else VAE
    model = kind(encoder, posterior, prior, decoder, likelihood, condition)
    model.preprocessing = config.preprocessing
    return model


def describe_vae(model: Model) -> VAEConfig:
    """Describes a VAE as data, the inverse of :func:`build_vae`.

    Raises:
        ConfigError: If the model is no composition of parts, or a part is not registered.
    """
    if not isinstance(model, VAE):
        kind = type(model).__name__
        raise ConfigError(f"model: {kind} is no VAE, and only a composition of registered parts can be written to a folder")
    refuse_overridden(type(model), base_of(type(model)))
    return describe_parts(model)


def _latent_dims(config: VAEConfig, place: str) -> tuple[int, int]:
    """The number of latents, and that of the top layer, whose distribution is the prior; one number for a single layer."""
    if config.latent_dim is not None and config.latent_dim < 1:
        raise ConfigError(f"{place}.latent_dim: must be at least 1, got {config.latent_dim}")
    if lookup(DECODERS, config.decoder.get("name"), f"{place}.decoder.name") is LadderDecoder:
        arguments = {key: value for key, value in config.decoder.items() if key != "name"}
        spec = check(LadderDecoder, arguments, place=f"{place}.decoder", inferred=INFERRED)
        sizes = ladder_sizes(config.shape, spec["channels"], spec["layers"], spec["width"])
        return config.latent_dim or sum(sizes), sizes[0]
    if config.latent_dim is None:
        raise ConfigError(f"{place}.latent_dim: missing")
    return config.latent_dim, config.latent_dim


def check_savable(model: Model, x: Tensor | None = None, labels: Tensor | None = None) -> None:
    """Checks that a model can be saved and loaded again, by doing both in memory: before it is trained, and not after.

    Arguments:
        model: The model.
        x: Some values to compare what the model and its copy compute, with shape (B, *event); None to compare no values.
        labels: Their classes, with shape (B), if the model is conditional.

    Raises:
        ConfigError: If it cannot: a part is not registered, does not keep its arguments, has weights that do not follow from
            them, or computes something else afterwards.
    """
    weights, place = model.state_dict(), "a saved model"
    for name, value in weights.items():
        if not isinstance(value, Tensor) or value.dtype not in DTYPES:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(
                f"model: {name} is {kind}, which a saved model cannot hold; keep it as a tensor of real numbers"
            )
    config = describe_vae(model)
    try:
        with fixed_seed(0):  # initial weights, which are replaced
            again = build_vae(validate(VAEConfig, json.loads(config.model_dump_json()), place), place)
        again.load_state_dict(weights)
    except ConfigError as error:
        raise ConfigError(f"{error}; {KEEP_ARGUMENTS}") from None
    except Exception as error:  # of parts that others write, which may raise anything
        reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        raise ConfigError(f"model: cannot be saved and loaded again ({reason}); {KEEP_ARGUMENTS}") from None
    if describe_vae(again) != config:
        changed = [key for key in VAEConfig.model_fields if getattr(describe_vae(again), key) != getattr(config, key)]
        raise ConfigError(f"model.{changed[0]}: not the same after it was saved and loaded again; {KEEP_ARGUMENTS}")
    if x is not None and not _compute_the_same(model, again.to(model.device), x, labels):
        raise ConfigError(f"model: computes something else after it was saved and loaded again; {KEEP_ARGUMENTS}")


def _compute_the_same(model: Model, other: Model, x: Tensor, labels: Tensor | None) -> bool:
    """Whether two models compute the same ELBO of some values, with the same noise."""
    with fixed_seed(0):
        mine = model.elbo(x.to(model.device), labels)
    with fixed_seed(0):
        theirs = other.elbo(x.to(other.device), labels)
    return torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)


def save_vae(
    model: Model, folder: Path, *, weights: Mapping[str, Tensor] | None = None, belongs_to: str | None = None
) -> None:
    """Writes a model's folder; a reader never sees a half-written file, and files that hold the same already stay.

    Arguments:
        model: The model.
        folder: The folder.
        weights: Weights to write instead of those that the model has now.
        belongs_to: A hash of the run that the weights are of, which the file then carries.

    Raises:
        ConfigError: If a part is not registered.
        OSError: If the folder cannot be written.
    """
    write_model(describe_vae(model), weights or model.state_dict(), folder, belongs_to)


def load_vae(folder: Path, belongs_to: str | None = None) -> VAE:
    """Loads a model from its folder, on the CPU and in evaluation mode.

    The weights' header is checked before anything is built, so that a configuration of another model costs nothing.

    Arguments:
        folder: The folder.
        belongs_to: The hash of the run that the weights must be of; None for any.

    Raises:
        ModelError: If a file is missing, damaged, holds values that are not finite, or the two do not belong together.
        RunError: If the folder has a format version that is not read.
        ConfigError: If the configuration names a part that is not registered, or a wrong argument.
    """
    text, data = _read_config(folder / CONFIG)
    check_format(data, folder)
    config, path = validate(VAEConfig, data, str(folder / CONFIG)), folder / WEIGHTS
    try:
        header = read_header(path)
        _check_header(header, path, text, config.format, belongs_to)
        model = _build_within(config, folder / CONFIG, ALLOCATION_SLACK + 2 * header.num_bytes)
        if {key: tuple(value.shape) for key, value in model.state_dict().items()} != header.shapes:
            raise ModelError(f"{path}: its weights do not fit {CONFIG}; copy both from one run")
        weights = read_tensors(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: missing, so the model has no weights; copy or restore it (vae train --resume)") from None
    except DamagedFile as error:
        raise ModelError(
            f"{path}: damaged or cut short ({error}); copy or restore it (vae train --resume), or train anew"
        ) from None
    if (name := first_not_finite(weights)) is not None:
        raise ModelError(f"{path}: {name} holds values that are not finite, so the model computes nothing; train anew")
    model.load_state_dict(weights)
    return model.eval()


def _check_header(header: Header, path: Path, config: str, version: int, belongs_to: str | None) -> None:
    """Raises unless weights carry a checksum and belong to the configuration and the run beside them."""
    if header.checksum is None and version >= CHECKSUMS_SINCE:
        raise ModelError(f"{path}: damaged, it has no checksum; copy it again or train anew")
    if header.metadata.get("config", config_hash(config)) != config_hash(config):
        raise ModelError(f"{path}: belongs to another {CONFIG} than the one beside it; copy both from one run")
    if belongs_to is not None and header.metadata.get("belongs_to") != belongs_to:
        raise ModelError(f"{path}: the weights of another run; copy it from the run that the folder is of, or train anew")


def _build_within(config: VAEConfig, path: Path, max_bytes: float) -> VAE:
    """Builds a VAE, unless it is much larger than the file of its weights."""
    try:
        reason = f"its weights in {WEIGHTS}; copy both from one run"
        with fixed_seed(0), limit_allocations(max_bytes, str(path), reason):  # initial weights, which are replaced
            return build_vae(config, str(path))
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # what torch raises for sizes that no machine has
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: the model that it describes cannot be built ({reason})") from None


def _read_config(path: Path) -> tuple[str, Any]:
    try:
        require_regular(path)
        text = path.read_text(encoding="utf-8")
        return text, json.loads(text)
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: no {CONFIG} there, so it is no model folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a configuration that can be read ({error})") from None
