"""A case of the zoo: a command that meets a hostile file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.fuzz_input import Material


@dataclass(frozen=True)
class Hostile:
    """A command that meets a hostile file.

    Arguments:
        args: The command.
        refused: Whether it has to be refused (True), has to work (False), or may do either (None).
        drawn: Whether figures and reports are drawn.
    """

    args: tuple[str, ...]
    refused: bool | None = True
    drawn: bool = False


Make = Callable[[Material, Path], Hostile]
