"""The text of ``--help``: no word is broken at any width, and what an option takes is said in words.

A command's docstring gives its paragraphs, which are filled anew, and its examples: the indented lines, which stay as they
are. Each parameter is a name and a text; the text ends with the choices that are too long for the name, the range and the
default in brackets.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.text import Text

INDENT, NAME_WIDTH, MAX_WIDTH = 2, 26, 100
"""The indent of parameters, the width of the column of their names, and the largest width of all, in characters."""
UNLIMITED = 2**31
"""From here on, the upper end of a range is no limit that anyone meets."""
VALUE_NAMES = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
"""The names of values in the names of options, by type."""
HEADING, NAME = "bold", "cyan"


def print_help(console: Console, usage: str, text: str, parameters: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Prints a help text.

    Arguments:
        console: Where.
        usage: The form of the command line.
        text: The docstring.
        parameters: The names and texts of parameters, or of commands, by heading.
    """
    width = min(console.width, MAX_WIDTH)
    lines = [Text.assemble(("Usage: ", HEADING), usage), Text()]
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        is_example = paragraph.startswith(" ")
        if is_example and not lines[-1].plain and lines[-2].plain.startswith(" " * INDENT):
            lines.pop()  # examples follow each other without empty lines
        lines += [_as_it_is(paragraph)] if is_example else list(map(Text.from_markup, _filled(paragraph, width)))
        lines += [] if paragraph.startswith("[bold]") else [Text()]
    for heading, entries in parameters.items():
        if entries:
            lines += [Text(heading, HEADING), *(line for entry in entries for line in _entry_lines(*entry, width)), Text()]
    for line in lines[:-1]:
        console.print(line, soft_wrap=True, highlight=False, emoji=False)


def parameter_entry(parameter: Any, callback: Callable[..., Any] | None) -> tuple[str, str]:
    """Returns the name of a parameter with what it takes, and its text.

    Arguments:
        parameter: The parameter of a command, as typer made it.
        callback: The function of the command, whose annotations say the types; None for a parameter that typer adds.
    """
    kind, info = _annotation(parameter.name, callback)
    names = ", ".join(sorted(parameter.opts, key=len)) if parameter.param_type_name == "option" else ""
    choices = [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []
    value = parameter.metavar or "|".join(choices) or VALUE_NAMES.get(kind, "TEXT")
    facts = [_range(getattr(info, "min", None), getattr(info, "max", None))]
    if not names:
        value = parameter.metavar or parameter.name.upper()
    elif getattr(parameter, "is_flag", False) or callback is None:
        value = ""
    elif len(f"{names} {value}") > NAME_WIDTH - INDENT and choices:
        value, facts = "NAME", [f"{', '.join(choices[:-1])} or {choices[-1]}"]
    if parameter.show_default and parameter.default is not None and not parameter.required and value:
        facts.append(f"default: {parameter.default}")
    shown = "; ".join(filter(None, facts))
    return f"{names} {value}".strip(), " ".join(filter(None, (parameter.help, f"[{shown}]" if shown else "")))


def _annotation(name: str, callback: Callable[..., Any] | None) -> tuple[Any, Any]:
    """The type of a parameter without lists and None, and what typer was told about it."""
    if callback is None:
        return bool, None
    hint = get_type_hints(callback, include_extras=True).get(name)
    info = get_args(hint)[1] if get_origin(hint) is Annotated else None
    kind = get_args(hint)[0] if info is not None else hint
    while get_origin(kind) not in (None, Literal):  # list[str] | None
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind, info


def _range(lowest: float | None, highest: float | None) -> str:
    """A range in words."""
    highest = None if highest is not None and highest >= UNLIMITED else highest
    if lowest is None:
        return "" if highest is None else f"at most {highest:,}"
    return f"at least {lowest:,}" if highest is None else f"{lowest:,} to {highest:,}"


def _entry_lines(name: str, text: str, width: int) -> Iterator[Text]:
    """The lines of a parameter: its text begins beside the name, or below one that is too long."""
    left = " " * INDENT + name
    column = NAME_WIDTH + INDENT
    first, *others = _filled(text, max(width - column, 20)) or [""]
    if len(left) >= column:
        yield Text(left, NAME)
        others = [first, *others]
    else:
        yield Text.assemble((left.ljust(column), NAME), first)
    for line in others:
        yield Text(" " * column + line)


def _as_it_is(paragraph: str) -> Text:
    return Text(textwrap.indent(textwrap.dedent(paragraph), " " * INDENT))


def _filled(paragraph: str, width: int) -> list[str]:
    """The lines of a paragraph, in which no word is broken."""
    return textwrap.wrap(" ".join(paragraph.split()), width, break_long_words=False, break_on_hyphens=False)
