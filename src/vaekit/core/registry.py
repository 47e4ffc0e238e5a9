"""Registries: the classes or functions of one kind by the name that a recipe gives them."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, TypeVar

from vaekit.core.constructor_source import constructor_arguments
from vaekit.core.errors import ConfigError, suggest
from vaekit.core.safe_text import MAX_NAME, printable, printable_value

T = TypeVar("T")
Factory = TypeVar("Factory", bound=Callable[..., Any])


class Registry(MutableMapping[str, Callable[..., T]]):
    """Classes or functions of one kind by the name that a recipe gives them.

    Entries of vaekit itself are written as dotted names and imported when they are first used, so that the names of a
    recipe can be checked without torch.

    Arguments:
        title: The name of the registry, for messages.
        entries: The entries that vaekit itself registers: dotted names, or classes or functions.

    Example:
        >>> @LIKELIHOODS.register("laplace")
        ... class Laplace(Likelihood): ...
    """

    def __init__(self, title: str, entries: Mapping[str, str | Callable[..., T]]) -> None:
        self.title = title
        self._entries: dict[str, str | Callable[..., T]] = dict(entries)

    def __getitem__(self, name: str) -> Callable[..., T]:
        """Returns the class of a name, which is imported if it was not yet."""
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.rpartition(".")
            factory: Callable[..., T] = getattr(import_module(module), attribute)
            entry = self._entries[name] = factory
        return entry

    def __setitem__(self, name: str, factory: Callable[..., T]) -> None:
        """Sets the class of a name."""
        self._entries[name] = factory

    def __delitem__(self, name: str) -> None:
        """Removes a name."""
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is an entry of a name; nothing is imported."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """The number of names."""
        return len(self._entries)

    def register(self, name: str) -> Callable[[Factory], Factory]:
        """Returns the decorator that registers a class under a name.

        Raises:
            ConfigError: If the name is taken by another class.
        """

        def add(factory: Factory) -> Factory:
            known = self.qualified(name)
            if known not in (None, qualified_name(factory)):
                raise ConfigError(f"{self.title}: {name!r} is registered already, for {known}; choose another name")
            self[name] = factory
            return factory

        return add

    def qualified(self, name: str) -> str | None:
        """Returns the dotted name of the class of a name; None if there is none."""
        entry = self._entries.get(name)
        return entry if entry is None or isinstance(entry, str) else qualified_name(entry)

    def keys_in_source(self, name: str) -> list[str] | None:
        """Returns the constructor arguments of an entry that is not imported yet; None if its source does not say."""
        entry = self._entries.get(name)
        return constructor_arguments(entry) if isinstance(entry, str) else None


def qualified_name(factory: Any) -> str:
    """Returns the dotted name of a class or function."""
    return f"{factory.__module__}.{factory.__qualname__}"


def lookup(table: Mapping[str, T], name: Any, place: str) -> T:
    """Returns ``table[name]``.

    Raises:
        ConfigError: If there is no such name, with the nearest ones.
    """
    require_name(table, name, place)
    return table[name]


def require_name(table: Mapping[str, Any], name: Any, place: str) -> None:
    """Checks that a table has a name; of a registry nothing is imported.

    Raises:
        ConfigError: If there is no such name, with the nearest ones.
    """
    if not isinstance(name, str) or name not in table:
        own = "; a part of your own is registered by --plugin FILE" if isinstance(table, Registry) else ""
        raise ConfigError(f"{place}: unknown name {printable_value(name)}{suggest(str(name), table)}{own}")


def require_keys(table: Registry[Any], spec: Mapping[str, Any], *, place: str, inferred: tuple[str, ...] = ()) -> None:
    """Checks the keys of a part whose class is not imported yet, by the source of its constructor; no values are checked.

    Raises:
        ConfigError: If a key is unknown, with the nearest ones.
    """
    known = table.keys_in_source(spec["name"])
    allowed = [key for key in known or () if key not in inferred]
    for key in spec:
        if known is not None and key != "name" and key not in allowed:
            where = f"{place}.{printable(str(key), MAX_NAME)}"
            raise ConfigError(f"{where}: unknown key{suggest(str(key), allowed)}")
