"""Options that commands share, and where what they draw goes."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vaekit.core.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from vaekit.data import ImageSet
    from vaekit.models import VAE
    from vaekit.presentation.gallery import Gallery

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a model folder, or a hub id.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.", show_default=False)]
Seed = Annotated[int, typer.Option(help="The seed of what is drawn.", min=0, max=2**63 - 1)]
Labels = Annotated[list[str] | None, typer.Option("--label", help="The class of what is drawn; may be repeated.")]
Label = Annotated[str | None, typer.Option(help="The class, by name or number, if the model is conditional.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")]
Data = Annotated[str | None, typer.Option(help="Other images than the run's own: a name, folder, array or hub id.")]


def test_images(run: str, data: str | None) -> "ImageSet":
    """Test images as the model saw them: the run's own, or others."""
    from vaekit.runs.run_folder import RECIPE, Run, load, load_for, model_folder

    folder = model_folder(run)
    if (folder / RECIPE).is_file():
        return Run(folder).images(data)
    if data is None:
        raise DataError(f"{run}: a model folder does not say which images it is of; add --data")
    return load_for(load(run), data, "test")


def load_on(device: str, run: str) -> "VAE":
    """The model of a run, on a device."""
    from vaekit.runs.run_folder import load
    from vaekit.training import make_accelerator

    return load(run).to(make_accelerator(device, "float32").device)


def training_images(run: str, data: str | None) -> tuple["ImageSet | None", "tuple[ImageSet, ImageSet] | None"]:
    """The run's training images as the model saw them, and test and training images as they were before.

    Neither where the images are others than the run's own, or nobody knows the run's own.
    """
    from vaekit.runs.run_folder import RECIPE, Run, model_folder

    folder = model_folder(run)
    if data is not None or not (folder / RECIPE).is_file():
        return None, None
    found = Run(folder)
    return found.images(split="train"), (found.images(binarized=False), found.images(split="train", binarized=False))


def gallery(run: str, data: str | None) -> "Gallery":
    """The gallery of a model and its test images, or others."""
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import fitting_of, load

    return Gallery(load(run), test_images(run, data), fitting_of(run))


def place(output: Path | None, run: str, name: str, part: str = "images") -> Path:
    """Where to write: where ``-o`` says, else in a part of the run's folder, else here."""
    if output is not None:
        if not output.parent.is_dir():
            raise DataError(f"{output}: the folder {output.parent} does not exist")
        return output
    folder = Path(run) / part
    return folder / name if folder.is_dir() else Path(name)


def write(save: Callable[[Path], object], path: Path) -> None:
    """Writes to a path, whole or not at all, and says where."""
    partial = path.with_name(f".{path.stem}-partial{path.suffix}")
    try:
        save(partial)
        partial.replace(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be written ({error})") from None
    finally:
        partial.unlink(missing_ok=True)
    print(path)


def show(image: "Image") -> None:
    """Shows an image in a window, where a person sits at a screen."""
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen and is_terminal():
        image.show()


def is_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()


def write_json(numbers: dict[str, Any], path: Path) -> None:
    """Writes numbers to a path, and says where."""
    write(lambda file: file.write_text(json.dumps(numbers, indent=2) + "\n"), path)
