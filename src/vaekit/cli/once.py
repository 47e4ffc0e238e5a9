"""Options that take one value are given once: a second one would silently replace the first."""

from collections import Counter
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand


class OnceCommand(TyperCommand):
    """A command that refuses an option that is given twice, unless it takes several values or is a flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments.

        Raises:
            BadParameter: If an option of one value is given twice.
        """
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for param, num in Counter(order).items():
            is_single = param.param_type_name == "option" and not (param.multiple or getattr(param, "is_flag", False))
            if num > 1 and is_single:
                raise BadParameter(f"{max(param.opts, key=len)}: given twice; it takes one value")
        return super().parse_args(ctx, args)
