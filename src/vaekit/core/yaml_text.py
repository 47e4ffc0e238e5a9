"""YAML as plain data: ``None``, booleans, numbers, text, lists, and mappings with text as keys; and nothing else.

A recipe may come from a stranger, so that reading one takes a time proportional to its size, whatever it holds. Its size and
its depth are bounded. Aliases are refused, by which a short text stands for a large one, and so are tags for other types,
such as dates and sets. A key that is given twice is refused too: only the last one would have an effect.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from vaekit.core.errors import ConfigError
from vaekit.core.files import describe_os_error, require_regular
from vaekit.core.safe_text import one_line, printable, printable_lines

MAX_CHARACTERS = 250_000
"""The maximum size of a text; the recipes of the package have about a thousand characters."""
MAX_DEPTH = 32
"""The maximum number of lists and mappings inside of each other."""
MAX_NUMBER = 64
"""The maximum number of characters of a number."""
MAX_REASON = 300
"""The number of characters to which the reason of an error is cut."""
TYPES = ("null", "bool", "int", "float", "str", "seq", "map")
"""The tags of plain data."""
SCIENTIFIC = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+\Z")
"""Numbers such as ``1e-3``, which YAML 1.1 takes for text."""


def parse_yaml(text: str, place: str) -> Any:
    """Reads YAML.

    Arguments:
        text: The text of one document.
        place: The name of its source, for messages.

    Returns:
        Plain data; None for an empty text.

    Raises:
        ConfigError: If the text is not YAML, or is not plain data within the limits of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{place}: over {MAX_CHARACTERS:,} characters, and a recipe has about a thousand; shorten it")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigError(
            f"{place}: not YAML ({one_line(error.problem or error.context or '', MAX_REASON)}{where})"
        ) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{place}: not YAML ({one_line(str(error), MAX_REASON)})") from None


def read_text(path: Path) -> str:
    """Reads a text file that is to be parsed, and no more of it than the limit.

    Raises:
        ConfigError: If it cannot be read, or is no text in UTF-8.
    """
    try:
        require_regular(path)
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({describe_os_error(error)})") from None


def format_yaml(data: Any) -> str:
    """Returns plain data as YAML: text that is not :func:`printable` is written in escapes, and all other text as it is."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True)
    if text == printable_lines(text):
        return text
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None))


class _Loader(yaml.SafeLoader):
    """A loader of plain data, which refuses everything else where it stands."""

    yaml_constructors = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in TYPES
    }
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in TYPES]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Returns the next node; an alias or an anchor is refused before anything is built of it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="an anchor or alias; write the value itself", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested over {MAX_DEPTH} levels deep", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        """Returns the text of a node; a number of any length would take a time that is quadratic in it."""
        if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_NUMBER:
            shown = printable(node.value, 20)
            problem = f"{shown}: a number of {len(node.value):,} characters"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_scalar(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Returns a mapping; keys that are not text, or are given twice, are refused."""
        keys = set[str]()
        for key_node, _ in getattr(node, "value", ()) if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            problem = None
            if not isinstance(key, str):
                problem = f"the key {printable(repr(key), 40)} is no text; write it in quotes"
            elif key in keys:
                problem = f"the key {printable(repr(key), 40)} is given twice; remove one"
            if problem is not None:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            keys.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


class _Dumper(yaml.SafeDumper):
    """Writes what :class:`_Loader` reads: text that it would take for a number, such as ``"1e-3"``, is put in quotes."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", SCIENTIFIC, list("-+.0123456789"))
