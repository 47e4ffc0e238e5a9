"""Options that commands share, and where what they draw goes."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vaekit.core.errors import DataError
from vaekit.core.files import atomic_path

if TYPE_CHECKING:
    from PIL.Image import Image

    from vaekit.presentation.gallery import Gallery

RunPath = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a model folder, or a hub id.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.", show_default=False)]
Seed = Annotated[int, typer.Option(help="The seed of what is drawn.", min=0, max=2**63 - 1)]
Labels = Annotated[list[str] | None, typer.Option("--label", help="The class of what is drawn; may be repeated.")]
Label = Annotated[str | None, typer.Option(help="The class, by name or number, if the model is conditional.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")]
Data = Annotated[str | None, typer.Option(help="Other images than the run's own: a name, folder, array or hub id.")]


def gallery(run: str, data: str | None) -> "Gallery":
    """The gallery of a run's model and its test images, or others."""
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import RunFolder

    found = RunFolder(run)
    return found.gallery if data is None else Gallery(found.model, found.images(data), found.fitting)


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
    try:
        with atomic_path(path) as partial:
            save(partial)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be written ({error})") from None
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
