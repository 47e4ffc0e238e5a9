"""Options of how images are drawn, and the names of the files that commands draw.

The name of a file has the options that were given, so that two commands that differ overwrite nothing of each other:
``vae sample R --label 7`` writes ``sample-label-7.png``, and ``vae sample R`` writes ``sample.png``. No command has the name
of a file that training writes (:data:`OF_TRAINING`).
"""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vaekit.cli.options import place
from vaekit.core.errors import DataError
from vaekit.core.files import user_path

if TYPE_CHECKING:
    from vaekit.plots import Look

ThemeName = Annotated[
    Literal["dark", "light"], typer.Option("--theme", help="The colors of text and of what is between images.")
]
Pixelated = Annotated[bool, typer.Option("--pixelated", help="Keep the pixels of small images visible as squares.")]
Size = Annotated[
    int | None,
    typer.Option(help="The least length of the shorter side in pixels, 4000 for a poster.", min=64, max=16_000),
]

InterpolationPath = Annotated[
    Literal["linear", "spherical"], typer.Option("--path", help="A line, or an arc that keeps the length of latents.")
]
Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="The values of the other latents: @N, a class, or an image file; by default the test image that changes most.",
    ),
]

OF_TRAINING = ("samples.png", "reconstructions.png", "curves.png")
"""The images that training writes, which no command replaces."""
UNNAMED = ("run", "output")
"""The parameters of a command that its file is not named by."""
MAX_NAME, MAX_VALUE = 96, 24
"""The number of characters to which the name of a file is cut, and each value in it."""


def look(theme: Literal["dark", "light"], pixelated: bool, size: int | None = None) -> "Look":
    """Returns the look that options choose; its caption is that of the run."""
    from vaekit.plots import Look
    from vaekit.plots.style import THEMES

    return Look(THEMES[theme], pixelated, size)


def drawing(context: typer.Context, output: Path | None, run: str, name: str, suffix: str = ".png") -> Path:
    """Returns the path that a command draws to, by default a name that has its options.

    Arguments:
        context: The call of the command.
        output: The path that was given, if any.
        run: The run.
        name: The name of a file that is drawn without options.
        suffix: The suffix of its format.

    Raises:
        DataError: If the path is that of an image that training has written, or as of :func:`vaekit.cli.options.place`.
    """
    path = place(output, run, f"{named(name, given(context))}{suffix}")
    if output is not None and path.name in OF_TRAINING and _is_among_images_of_run(user_path(output)):
        raise DataError(f"{path}: an image that training wrote; choose another name with -o")
    return path


def given(context: typer.Context) -> list[tuple[str, Any]]:
    """Returns the names and values of the parameters that differ from their defaults; an argument has an empty name."""
    found = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in UNNAMED or value is None or value in (False, (), []) or value == parameter.default:
            continue
        is_option = parameter.opts[0].startswith("-")
        found.append((max(parameter.opts, key=len).lstrip("-") if is_option else "", value))
    return found


def named(name: str, options: list[tuple[str, Any]]) -> str:
    """Returns the name of a file without suffix: a word and the options; a hash tells names apart that had to be changed."""
    parts, changed = [name], False
    for option, value in options:
        values = value if isinstance(value, list | tuple) else [] if value is True else [value]
        texts = [
            re.sub(r"[^A-Za-z0-9.,@]+", "_", Path(text).stem if isinstance(text, Path) else text)
            for text in map(_text, values)
        ]
        shown = [text[:MAX_VALUE] for text in texts]
        changed = changed or shown != [str(text) for text in values]
        parts += [*([option] if option else []), *shown]
    whole = "-".join(parts)
    if not changed and len(whole) <= MAX_NAME:
        return whole
    return f"{whole[:MAX_NAME]}-{hashlib.sha256(repr(options).encode(errors='surrogatepass')).hexdigest()[:8]}"


def _text(value: Any) -> Any:
    """A value as text; a path stays one."""
    return value if isinstance(value, Path) else str(value)


def _is_among_images_of_run(path: Path) -> bool:
    from vaekit.runs.run_records import IMAGES, RECIPE  # heavy, and only needed for these names

    return path.parent.name == IMAGES and (path.parent.parent / RECIPE).is_file()
