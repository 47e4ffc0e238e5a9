r"""A model as ``AutoencoderKL`` of the library ``diffusers`` reads it: ``config.json`` and one file of weights.

Networks ``autoencoder-kl`` have the names and shapes of weights of that class, so weights are copied. What has another place
or name:

- The two linear layers of the posterior, mean first, are the rows of ``quant_conv``. If the features have not twice as many
  channels as the latents, it does not fit there: then it is folded into the convolution before it, since both are linear.
- The first layer of the decoder is ``post_quant_conv`` of the model.
- Of the last layer, the maps of a standard deviation per pixel are left out.

The library is not needed to write the files. ``AutoencoderKL`` takes images in [-1, 1], as the networks do inside, and
returns images there that are not clipped yet. Its log-variances are clipped to [-30, 20]; those of the posterior here are
unchanged from -30 to 30 and bounded smoothly beyond, so the two agree for standard deviations from :math:`e^{-15}` to
:math:`e^{10}`.

References:
    | AutoencoderKL, https://github.com/huggingface/diffusers (Apache License 2.0); its code is not part of this package
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2021), https://arxiv.org/abs/2112.10752,
      section D.1 for the scaling factor
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError, ModelError
from vaekit.core.files import describe_os_error, write_json, write_text
from vaekit.core.tensor_files import DamagedFile, read_header, write_tensors
from vaekit.distributions import DiagonalGaussian
from vaekit.models import VAE
from vaekit.models.folder_format import WEIGHTS as OWN_WEIGHTS
from vaekit.models.saving import describe_parts
from vaekit.networks import AutoencoderKLDecoder, AutoencoderKLEncoder

CLASS, VERSION = "AutoencoderKL", "0.42.1"
"""The class that opens the folder, and the version of the library that was tested."""
CONFIG, WEIGHTS, CARD = "config.json", "diffusion_pytorch_model.safetensors", "README.md"
MARK = {"format": "pt", "written_by": "vaekit"}
"""The metadata of weights; by the second entry an export is known, which another export may replace."""
NETWORK = "autoencoder-kl"
SETTINGS = ("block_out_channels", "layers_per_block", "norm_num_groups", "mid_block_add_attention")
"""The arguments that encoder and decoder have in common."""
LOGVARS = (-30.0, 20.0)
"""The range to which the library clips log-variances."""


@dataclass(frozen=True)
class LatentScale:
    """How samples of the posterior are distributed over the training images.

    Arguments:
        mean: The mean over all channels.
        stddev: The standard deviation over all channels.
        means: The mean of each channel.
        stddevs: The standard deviation of each channel.
    """

    mean: float
    stddev: float
    means: list[float]
    stddevs: list[float]


def require_exportable(model: VAE) -> None:
    """Checks that a model is an ``AutoencoderKL``.

    Raises:
        ModelError: If it is not: the part that differs, why, and what to train instead.
    """
    parts = describe_parts(model)
    for place, part, kind in (
        ("encoder", model.encoder, AutoencoderKLEncoder),
        ("decoder", model.decoder, AutoencoderKLDecoder),
    ):
        if not isinstance(part, kind):
            reason = f"another network than {CLASS} of diffusers; train with encoder and decoder {NETWORK}"
            raise ModelError(f"model.{place}: {getattr(parts, place)['name']}, {reason}")
    if not isinstance(model.posterior, DiagonalGaussian):
        reason = f"and {CLASS} of diffusers has independent Gaussian latents; train with the posterior diagonal-gaussian"
        raise ModelError(f"model.posterior: {parts.posterior['name']}, {reason}")
    if model.condition is not None:
        raise ModelError(f"model: class-conditional, and {CLASS} of diffusers takes no labels; train without --conditional")
    for key in SETTINGS:
        if parts.encoder[key] != parts.decoder[key]:
            values = f"{parts.encoder[key]}, and of the decoder {parts.decoder[key]}"
            raise ModelError(f"model.encoder.{key}: {values}; {CLASS} of diffusers has one for both; train with one")
    if not _has_plain_pixels(model):
        reason = f"whose mean is not the image of {CLASS}; train with the likelihood laplace or gaussian"
        raise ModelError(f"model.likelihood: {parts.likelihood['name']}, {reason}")


def _has_plain_pixels(model: VAE) -> bool:
    """Whether pixels go in on the unit interval, and the mean of p(x|z) is the image of the first maps: by a trial."""
    decoder, likelihood = _decoder_of(model), model.likelihood
    if not decoder.num_image_maps:
        return False
    levels = torch.arange(256, dtype=torch.uint8).expand(1, *model.shape[:1], 1, 256)
    parameters = torch.linspace(-6, 6, 64).expand(1, decoder.num_maps, 1, 64).to(model.device)
    means = likelihood(parameters).mean
    same_input = torch.equal(likelihood.encoder_input(levels), levels.float() / 255)
    expected = parameters[:, : model.shape[0]].sigmoid()
    return same_input and torch.allclose(means, expected, atol=1e-6)


def library_weights(model: VAE) -> dict[str, Tensor]:
    """Returns the weights of a model by their names in ``AutoencoderKL``, as float32 on the CPU."""
    encoder, decoder = _encoder_of(model), _decoder_of(model)
    weights = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    for name, value in decoder.state_dict().items():
        weights[name if name.startswith("post_quant_conv.") else f"decoder.{name}"] = value
    for name in ("weight", "bias"):
        weights[f"decoder.conv_out.{name}"] = weights[f"decoder.conv_out.{name}"][: model.shape[0]]
        parts = [getattr(getattr(model.posterior, part), name) for part in ("mu", "logvar")]
        weights[f"quant_conv.{name}"] = torch.cat(parts)
    if not _has_quant_conv(model):
        _fold_quant_conv(weights)
    return {name: value.detach().float().cpu() for name, value in weights.items()}


def _fold_quant_conv(weights: dict[str, Tensor]) -> None:
    """Replaces the last convolution of the encoder by the 1x1 convolution after it."""
    matrix, offset = weights.pop("quant_conv.weight").flatten(1).double(), weights.pop("quant_conv.bias").double()
    kernel, bias = weights["encoder.conv_out.weight"].double(), weights["encoder.conv_out.bias"].double()
    weights["encoder.conv_out.weight"] = torch.einsum("of,fihw->oihw", matrix, kernel)
    weights["encoder.conv_out.bias"] = matrix @ bias + offset


def library_config(model: VAE, scale: LatentScale) -> dict[str, Any]:
    """Returns the configuration of ``AutoencoderKL``, with the keys that the library writes."""
    parts = describe_parts(model)
    decoder, channels = _decoder_of(model), model.shape[0]
    num_levels = len(decoder.block_out_channels)
    config = {
        "_class_name": CLASS,
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "down_block_types": ["DownEncoderBlock2D"] * num_levels,
        "force_upcast": True,
        "in_channels": channels,
        "latent_channels": decoder.latent_channels,
        "latents_mean": scale.means,
        "latents_std": scale.stddevs,
        "out_channels": channels,
        "sample_size": padded_size(model)[0] if len(set(padded_size(model))) == 1 else list(padded_size(model)),
        "scaling_factor": 1 / scale.stddev,
        "shift_factor": scale.mean,
        "up_block_types": ["UpDecoderBlock2D"] * num_levels,
        "use_post_quant_conv": True,
        "use_quant_conv": _has_quant_conv(model),
    }
    return dict(sorted((config | {key: parts.decoder[key] for key in SETTINGS}).items()))


def padded_size(model: VAE) -> tuple[int, int]:
    """Returns the height and width of the images that ``AutoencoderKL`` takes: multiples of the factor of the latents."""
    decoder = _decoder_of(model)
    factor = 2 ** (len(decoder.block_out_channels) - 1)
    return factor * decoder.input_shape[1], factor * decoder.input_shape[2]


def _has_quant_conv(model: VAE) -> bool:
    return _encoder_of(model).latent_channels == _decoder_of(model).latent_channels


def _encoder_of(model: VAE) -> AutoencoderKLEncoder:
    assert isinstance(model.encoder, AutoencoderKLEncoder)
    return model.encoder


def _decoder_of(model: VAE) -> AutoencoderKLDecoder:
    assert isinstance(model.decoder, AutoencoderKLDecoder)
    return model.decoder


def refuse_place(folder: Path) -> None:
    """Refuses a folder for an export that holds another model; an earlier export is replaced.

    Raises:
        DataError: If it is a file, or one of the files would replace something else.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file, and an export is a folder; choose another with -o")
    if (folder / OWN_WEIGHTS).exists():
        raise DataError(f"{folder}: a model of vaekit, whose {CONFIG} would be replaced; choose another folder with -o")
    for name in (CONFIG, WEIGHTS, CARD):
        if (folder / name).exists() and not _is_export(folder):
            raise DataError(
                f"{folder / name}: not written by an export, and would be replaced; choose another folder with -o"
            )


def _is_export(folder: Path) -> bool:
    """Whether a folder holds an earlier export."""
    try:
        return read_header(folder / WEIGHTS).metadata.get("written_by") == MARK["written_by"]
    except (DamagedFile, FileNotFoundError):
        return False


def write_folder(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], card: str) -> None:
    """Writes an export; each file is whole or not there, and the weights come first.

    Raises:
        DataError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / WEIGHTS, weights, MARK)
        write_json(folder / CONFIG, config)
        write_text(folder / CARD, card)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written ({describe_os_error(error)})") from None
