"""The command ``vae``: a thin layer that reads options, calls the package, and says where it wrote.

A command imports what it runs only when it runs it, so that ``--help`` answers at once. Whatever a user can get wrong is a
:class:`vaekit.core.errors.VaekitError`: one line on the error stream and exit code 2, and a traceback only with ``--debug``.
"""

import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from vaekit.cli import (
    data_commands,
    evaluate_commands,
    export_commands,
    page_commands,
    plot_commands,
    prior_commands,
    reproduce_commands,
    run_commands,
    score_commands,
    train_commands,
)
from vaekit.cli.command_classes import Command, Commands
from vaekit.core.errors import ConfigError, Interrupted, VaekitError, suggest
from vaekit.core.files import os_error_cure
from vaekit.core.launcher import end_process, launched_rank, names_itself
from vaekit.core.plugins import load_plugin
from vaekit.core.safe_text import REPLACED, one_line
from vaekit.core.signals import PIPE_CODE, ignore_signals, stopped_at_once
from vaekit.runs.similar_runs import require_run

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What click, or the copy of it that typer brings, raises for a command line that it cannot read."""

MAX_USAGE = 500
"""The number of characters to which a message about a command line is cut."""

GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train": (
        train_commands.train,
        train_commands.recipes,
        prior_commands.prior,
        data_commands.data,
        run_commands.runs,
        run_commands.clean,
    ),
    "Look": (
        plot_commands.sample,
        plot_commands.reconstruct,
        plot_commands.traverse,
        plot_commands.manifold,
        plot_commands.interpolate,
        plot_commands.map_,
        plot_commands.animate,
    ),
    "Measure": (
        plot_commands.curves,
        plot_commands.rates,
        plot_commands.errors,
        evaluate_commands.evaluate,
        score_commands.score,
        score_commands.embed,
        reproduce_commands.reproduce,
    ),
    "Share": (page_commands.report, page_commands.compare, export_commands.export),
}
"""The commands by what they are for, in the order in which one meets them."""

app = typer.Typer(
    name="vae",
    cls=Commands,
    help="Train variational autoencoders, see what they learned, and know how good they are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", metavar="FILE", help="A Python file that registers parts of your own; may be repeated."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train variational autoencoders, see what they learned, and know how good they are."""
    if version:
        print(f"vaekit {metadata.version('vaekit')}")
        raise typer.Exit


def checked(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command that refuses a run that does not exist, before it imports what it runs."""

    @wraps(command)
    def run_command(**options: Any) -> None:
        for run in [options["run"]] if "run" in options else options.get("runs", ()):
            require_run(run)
        command(**options)

    return run_command


for group, commands in GROUPS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), cls=Command, rich_help_panel=group)(checked(command))


def split_plugins(args: list[str]) -> tuple[list[str], list[Path]]:
    """Returns a command line without its plugins, and the plugins.

    Raises:
        ConfigError: If ``--plugin`` names no file.
    """
    rest, plugins, left = [], [], iter(args)
    for argument in left:
        name, equals, value = argument.partition("=")
        if name != "--plugin":
            rest.append(argument)
            continue
        value = value if equals else next(left, "")
        if not value or (not equals and value.startswith("--")):
            raise ConfigError("--plugin: name a Python file that registers parts, as in --plugin my_parts.py")
        plugins.append(Path(value))
    return rest, plugins


def main() -> None:
    """Runs the command; a user's mistake is one line and exit code 2, a signal one line and 128 plus its number.

    ``--debug`` and ``--plugin`` belong to every command, so that they are read here, before the command or after it.
    """
    _set_up_output()
    args = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(args) < len(sys.argv) - 1
    try:
        with stopped_at_once():
            args, plugins = split_plugins(args)
            for plugin in plugins:
                load_plugin(plugin)
            if launched_rank() and "train" not in args[:1]:
                _leave_to_first()
            code = _run(args or ["--help"])
        end_process(code if isinstance(code, int) else 0)
    except UsageError as error:
        if debug:
            raise
        _end(f"vae: {_describe(error)} (vae --help, vae COMMAND --help)")
    except Interrupted as stopped:
        if launched_rank() > 0:  # all processes stop together, and the first says so
            end_process(stopped.exit_code)
        _end(str(stopped), stopped.exit_code)
    except VaekitError as error:
        if debug:
            raise
        _end(f"vae: {error}")
    except OSError as error:  # a full disk, a folder that may not be looked into, a closed output
        if debug:
            raise
        _end_by(error)
    except (KeyboardInterrupt, typer.Abort):  # Abort is a RuntimeError: the input ended where a question was asked
        _end("vae: stopped", 130)
    except (RuntimeError, MemoryError) as error:  # torch and pathlib raise a bare RuntimeError
        if "home directory" in str(error) and not debug:
            _end("vae: the home folder is unknown, and a library needs it; set HOME to a folder")
        lacking = ("can't allocate memory", "not enough memory", "out of memory", "size calculation overflowed")
        if debug or not (isinstance(error, MemoryError) or any(words in str(error) for words in lacking)):
            raise
        _end("vae: there is not enough memory for this; ask for fewer images or samples at once, or for a smaller model")


def _describe(error: Exception) -> str:
    """What is wrong with a command line; of a mistyped option the nearest options."""
    if near := getattr(error, "possibilities", None):
        return one_line(f"{error.message}{suggest(error.option_name, near)}", MAX_USAGE)  # type: ignore[attr-defined]
    return one_line(
        str(getattr(error, "format_message", str)()).replace("Value error, ", "").replace("\n\t", " "), MAX_USAGE
    )


def _set_up_output() -> None:
    """Makes the standard streams replace what they cannot encode, and keeps windows out of plots that are only written."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=REPLACED)
    os.environ["MPLBACKEND"] = "agg"  # a name that matplotlib does not know would end its import


def _leave_to_first() -> NoReturn:
    """Ends a process that is not the first of a launcher, since the first works alone."""
    if not names_itself():  # the variables may be left over
        print(
            f"vae: RANK={launched_rank()} does nothing, process 0 does it; if there is none, "
            "remove RANK and WORLD_SIZE from the environment",
            file=sys.stderr,
        )
    sys.exit(0)


def _run(args: list[str]) -> object:
    """Runs a command.

    Raises:
        BrokenPipeError: If the output was closed, which click and rich turn into exit code 1.
    """
    try:
        return app(args, standalone_mode=False)
    except SystemExit as stop:
        if stop.code == 1:
            raise BrokenPipeError(errno.EPIPE, "the output was closed") from None
        raise


def _end(line: str, code: int = 2) -> NoReturn:
    """Prints a line on the error stream and ends the process."""
    ignore_signals()  # all is said
    with suppress(OSError):  # of a terminal that was closed
        print(line, file=sys.stderr, flush=True)
    end_process(code)


def _end_by(error: OSError) -> NoReturn:
    """Ends the process by an error of the system that no command has explained."""
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (or Python would write to the closed output at exit)
        _end("vae: the output was closed", PIPE_CODE)
    place = f"{error.filename}: " if error.filename else ""
    _end(one_line(f"vae: {place}{error.strerror or error}; {os_error_cure(error)}", MAX_USAGE))
