"""The names of the arguments of a constructor, read from its source without importing its module."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def constructor_arguments(dotted: str) -> list[str] | None:
    """Returns the arguments of a class or function of a module that need not be imported.

    Arguments:
        dotted: The module and the name in it, as ``vaekit.networks.mlp.MLPEncoder``.

    Returns:
        The names of the arguments without ``self``; None if the source is not there, or the constructor is inherited.
    """
    module, _, name = dotted.rpartition(".")
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    function = _constructor(_parsed(spec.origin), name)
    return None if function is None else [argument.arg for argument in function.args.args if argument.arg != "self"]


@cache
def _parsed(path: str) -> ast.Module:
    """The syntax tree of a module, which several registries may ask for."""
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _constructor(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    """The function of a name in a module, or the constructor of the class of that name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ClassDef) and node.name == name:
            own = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
            return next(own, None)
    return None
