"""Options that several commands have, and the functions that write their outputs."""

import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vaekit.core.errors import DataError
from vaekit.core.files import atomic_path, describe_os_error, user_path
from vaekit.core.progress import output_errors
from vaekit.core.safe_text import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from vaekit.plots.channel_choice import Channels as ChosenChannels

RunPath = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a model folder, or a hub id.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write; - for the standard output.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="The random seed.", min=0, max=2**63 - 1)]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="The class, by name or number; may be given several times.")
]
Label = Annotated[str | None, typer.Option(help="The class, by name or number, if the model is conditional.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="The device to compute on.")]
Data = Annotated[
    str | None, typer.Option(help="Images to use instead of the run's test images: a name, folder, array or hub id.")
]

Channels = Annotated[
    str | None,
    typer.Option("--channels", help="Channels to show, from 1: one as gray, as 4, or three as red, green, blue, as 3,2,1."),
]

STREAM = Path("<standard output>")
"""The folder of a file that is to be written to the standard output, which ``-o -`` asks for."""


def place(output: Path | None, run: str, name: str, part: str = "images") -> Path:
    """Returns the path to write: ``output`` if it is given, else ``name`` in ``part`` of the run folder or, without, here.

    A run that was stopped early has no folder of images yet, and gets it here. The folder of ``output`` is made when the
    file is written.

    Raises:
        DataError: If ``output`` has no name, its folder cannot be made, or it is one of the files that make a run.
    """
    if output is not None:
        return _place_output(output, name)
    from vaekit.runs.run_records import RECIPE

    folder = user_path(run)
    if (folder / RECIPE).is_file():
        try:
            (folder / part).mkdir(exist_ok=True)
        except FileExistsError:
            raise DataError(f"{folder / part}: not a folder, and images are written into it; remove it") from None
    return folder / part / name if (folder / part).is_dir() else Path(name)


def _place_output(output: Path, name: str) -> Path:
    if str(output) == "-":
        if is_terminal():
            raise DataError(f"-o -: a terminal cannot show a file; send it on, as in -o - > {name}")
        return STREAM / name
    output = user_path(output)
    if not output.name:
        raise DataError(f"{output}: a folder, not the name of a file; give one, as in -o {name}")
    found = next(folder for folder in output.parents if folder.exists())
    if not found.is_dir():
        raise DataError(f"{output}: {found} is a file, not a folder")
    if output.is_dir():
        raise DataError(f"{output}: a folder, not the name of a file; give one, as in -o {output / name}")
    if output.exists():
        _refuse_file_of_run(output)
    return output


def is_streamed(path: Path) -> bool:
    """Returns whether a file goes to the standard output, so that nothing else may be printed there."""
    return path.parent == STREAM


def _refuse_file_of_run(path: Path) -> None:
    from vaekit.runs.run_records import RUN_FILES  # heavy, and only needed if a file is there

    if path.name in RUN_FILES:
        raise DataError(f"{path}: a file of a run, which would be damaged; choose another name with -o")


def write(save: Callable[[Path], object], path: Path) -> None:
    """Writes a file atomically, and prints its path; arguments and errors as of :func:`store`."""
    store(save, path)
    if not is_streamed(path):
        say(str(path))


def store(save: Callable[[Path], object], path: Path) -> None:
    """Writes a file atomically, and makes its folder; or writes it to the standard output.

    Arguments:
        save: Writes the file to a path.
        path: The path to write, as :func:`place` returns it.

    Raises:
        DataError: If the file cannot be written.
    """
    if is_streamed(path):
        _stream(save, path.name)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            save(partial)
    except (OSError, ValueError, OverflowError, struct.error) as error:  # the last two by formats whose sides are limited
        reason = describe_os_error(error)
        if reason.startswith("unknown file extension"):
            reason = f"{reason}; end it in .png, .jpg, .webp, .tiff or .pdf"
        raise DataError(f"{path}: cannot be written ({reason})") from None


def _stream(save: Callable[[Path], object], name: str) -> None:
    """Writes a file to the standard output; the name decides its format."""
    with TemporaryDirectory(prefix="vaekit-") as folder:
        store(save, Path(folder) / name)
        with output_errors(), (Path(folder) / name).open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def read_channels(text: str | None) -> "ChosenChannels | None":
    """Reads ``--channels``; None if it is not given.

    Raises:
        ConfigError: If it is neither a channel nor three channels.
    """
    from vaekit.plots.channel_choice import parse_channels

    return None if text is None else parse_channels(text, "--channels")


def say(line: str) -> None:
    """Prints a line; names in it have no effect on the terminal."""
    with output_errors():
        print(printable(line), flush=True)


def show(image: "Image") -> None:
    """Shows an image in a window if there is a screen and the output is a terminal."""
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen and is_terminal():
        image.show()


def is_terminal() -> bool:
    """Returns whether the output is a terminal."""
    return sys.stdout.isatty()


def store_json(numbers: dict[str, Any], path: Path) -> None:
    """Writes numbers as JSON."""
    store(lambda file: file.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8"), path)
