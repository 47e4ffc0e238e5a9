"""Commands of ``vae`` in messages, quoted so that a shell reads them as they are meant.

A command that is to be copied is printed by :func:`vaekit.core.progress.print_command` on a line of its own, or ends the
one line of an error, which no function breaks.
"""

import shlex
from pathlib import Path


def resume_command(run: Path, *options: object) -> str:
    """Returns the command that continues a run.

    >>> resume_command(Path("my runs/digits"), "--epochs", 100)
    "vae train --resume 'my runs/digits' --epochs 100"
    """
    return _command("train", "--resume", run, *options)


def anew_command(run: Path) -> str:
    """Returns the command that trains a run anew by its own recipe, and replaces it."""
    return _command("train", run / "recipe.yaml", "--out", run, "--force")


def from_command(run: Path) -> str:
    """Returns the command that trains a new run from the weights of another."""
    return _command("train", "--from", run)


def _command(*words: object) -> str:
    return shlex.join(["vae", *map(str, words)])
