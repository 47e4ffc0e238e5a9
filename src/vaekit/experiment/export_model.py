"""``vaekit.export_model`` and ``vae export``: a model in the format of another library.

A format is a function from a run to an :class:`Export`, registered in :data:`FORMATS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vaekit.core.arguments import checked
from vaekit.core.config import INFERRED, describe
from vaekit.core.errors import DataError
from vaekit.core.files import user_path
from vaekit.core.safe_text import MAX_NAME, printable
from vaekit.data import ImageSet
from vaekit.distributions import PRIORS, StandardNormal
from vaekit.evaluation.latents.channel_moments import ChannelMoments, channel_moments
from vaekit.export import diffusers_card, diffusers_format
from vaekit.export.diffusers_format import LOGVARS, LatentScale
from vaekit.runs.run_folder import RunFolder
from vaekit.training import find_device

Format = Literal["diffusers"]
"""The names of formats."""


@dataclass(frozen=True)
class Export:
    """A model in the format of another library.

    Arguments:
        folder: The folder that it was written to.
        config: What its configuration says.
        lines: What came of it, as text.
    """

    folder: Path
    config: dict[str, Any]
    lines: tuple[str, ...]


@checked(DataError)
def export_model(
    run: RunFolder | str | Path,
    format: Format,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "cpu",
) -> Export:
    """Writes a run's model as another library reads it.

    Arguments:
        run: A run, its folder, a model folder, or a hub id.
        format: ``diffusers`` for ``AutoencoderKL`` of that library, which need not be installed.
        out: The folder to write; by default one that is named after the format, in the run folder.
        data: The images whose latents are measured: a name, folder, array or hub id; by default the training images.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        VaekitError: If the run or the images cannot be read, the format cannot hold the model, or the folder holds another.

    Example:
        >>> export = vaekit.export_model("runs/tokenizer", "diffusers")
        >>> export.config["scaling_factor"]
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    name = folder.folder.resolve().name
    place = folder.folder / format if folder.has_recipe else Path(f"{name}-{format}")
    return FORMATS[format](folder, user_path(out) if out is not None else place, data, device)


def _to_diffusers(run: RunFolder, out: Path, data: str | Path | None, device: str) -> Export:
    """Writes ``AutoencoderKL`` of diffusers."""
    model = run.model
    diffusers_format.require_exportable(model)
    diffusers_format.refuse_place(out)
    images = _measured_images(run, data)
    weights = diffusers_format.library_weights(model)
    num_channels = int(weights["post_quant_conv.weight"].shape[0])
    moments = channel_moments(model.to(find_device(device)), images, num_channels)
    scale = LatentScale(moments.mean, moments.stddev, moments.means.tolist(), moments.stddevs.tolist())
    config = diffusers_format.library_config(model, scale)
    lines = _lines(run, config, moments, images)
    card = diffusers_card.card(config, lines)
    diffusers_format.write_folder(out, weights, config, card)
    return Export(out, config, lines)


def _measured_images(run: RunFolder, data: str | Path | None) -> ImageSet:
    """The training images, as the model saw them, or those that are named."""
    if data is None and not run.has_recipe:
        raise DataError(
            f"{run.folder}: a model folder does not say which images it was trained on, whose latents are measured; "
            "name them with --data"
        )
    return run.images(data, "train" if data is None else "any")


def _lines(run: RunFolder, config: dict[str, Any], moments: ChannelMoments, images: ImageSet) -> tuple[str, ...]:
    """What came of an export to diffusers, and what the format leaves out."""
    model = run.model
    height, width = diffusers_format.padded_size(model)
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    latents = f"{config['latent_channels']}x{height // factor}x{width // factor}"
    lines = [
        f"AutoencoderKL of diffusers: images of {config['in_channels']}x{height}x{width}, latents of {latents}",
        f"scaling_factor {config['scaling_factor']:.4g}, shift_factor {config['shift_factor']:.4g}: by the latents of "
        f"{moments.num_images:,} images of {printable(images.name, MAX_NAME)}",
    ]
    if (height, width) != tuple(model.shape[1:]):
        own = f"{model.shape[1]}x{model.shape[2]}"
        lines.append(f"images of {own} must be padded to {height}x{width} at the right and the bottom by their last pixels")
    if not isinstance(model.prior, StandardNormal):
        name = describe(model.prior, PRIORS, inferred=INFERRED)["name"]
        lines.append(f"the prior {name} is left out, which the format has no place for")
    low, high = moments.logvar_range
    if low < LOGVARS[0] or high > LOGVARS[1]:
        lines.append(f"log-variances from {low:.3g} to {high:.3g}: diffusers clips them to {LOGVARS[0]:g} to {LOGVARS[1]:g}")
    return tuple(lines)


FORMATS: dict[str, Callable[[RunFolder, Path, str | Path | None, str], Export]] = {"diffusers": _to_diffusers}
"""The function that writes each format, given the run, the folder to write, images to measure or None, and the device."""
