"""Names of a package that are imported when they are first used (PEP 562).

A package whose modules need torch lists its public names with the module of each, so that importing one light module of it,
such as a schema, does not wait for torch.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a package.

    Arguments:
        package: The dotted name of the package.
        modules: The module of each name, below the package.

    Example:
        >>> __getattr__ = lazy_names(__name__, {"MLPEncoder": "mlp"})
    """

    def getattr_(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return getattr_
