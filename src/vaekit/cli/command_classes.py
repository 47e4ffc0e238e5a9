"""The classes of the commands: options of one value are given once and are no other option, and a help text of our own."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperGroup

from vaekit.cli.help_text import parameter_entry, print_help
from vaekit.core.progress import OutputConsole


class Command(TyperCommand):
    """A command that refuses an option that is given twice, and an option in the place of the value of another."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments.

        Raises:
            BadParameter: If an option of one value is given twice, or ``--out --force`` takes one option for the value of
                another.
        """
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for param, num in Counter(order).items():
            name = max(param.opts, key=len)
            is_single = param.param_type_name == "option" and not (param.multiple or getattr(param, "is_flag", False))
            if num > 1 and is_single:
                raise BadParameter(f"{name}: given twice; it takes one value")
            for value in _texts(values.get(param.name)):
                if value.startswith("--") and value in args and param.param_type_name == "option":
                    raise BadParameter(f"{name}: a value is missing before {value}; one that begins so is {name}={value}")
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help text."""
        arguments: list[tuple[Any, tuple[str, str]]] = []
        options: list[tuple[Any, tuple[str, str]]] = []
        for parameter in self.get_params(ctx):
            is_own = parameter.name != "help"
            entry = parameter_entry(parameter, _function(self.callback) if is_own else None)
            (arguments if parameter.param_type_name == "argument" else options).append((parameter, entry))
        places = "".join(f" {name if one.required or name.startswith('[') else f'[{name}]'}" for one, (name, _) in arguments)
        parameters = {"Arguments": [entry for _, entry in arguments], "Options": [entry for _, entry in options]}
        print_help(OutputConsole(), f"vae {self.name}{places} [OPTIONS]", self.help or "", parameters)


class Commands(TyperGroup):
    """The commands in groups."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help text."""
        entries: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            entries[command.rich_help_panel].append((name, (command.help or "").split("\n\n")[0]))
        own = _function(self.callback)
        options = [parameter_entry(one, own if one.name != "help" else None) for one in self.get_params(ctx)]
        print_help(OutputConsole(), "vae COMMAND [OPTIONS]", self.help or "", {**entries, "Options": options})


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of the command line."""
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str):
            yield item


def _function(callback: Callable[..., Any] | None) -> Callable[..., Any]:
    """The function of a command, below what typer puts around it."""
    while callback is not None and hasattr(callback, "__wrapped__"):
        callback = callback.__wrapped__
    if callback is None:
        raise TypeError("a command without a function")
    return callback
