"""The card of a hub repository: its ``README.md``, whose YAML header declares configurations.

``datasets`` follows what a card declares. So before it does, a card is refused whose header could take it out of the folder,
to the network, or into minutes of work.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vaekit.core.errors import DataError

CARD = "README.md"
"""The file in which a hub repository declares its configurations."""
STANDALONE = ".huggingface.yaml"
"""A file in which it may declare them instead."""
MAX_CARD_BYTES = 10**7
"""The longest card that is read, 10 MB."""
MAX_DEPTH = 20
"""The deepest nesting in a header."""

_HEADER = re.compile(r"^\s*---(?:\r\n|\r|\n)([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")


def declared_configs(card: Path) -> tuple[list[str], bool]:
    """Returns the configurations that a repository's card declares, and whether one of them is the default.

    Any file may have the name of a card; one that declares nothing that can be read is ignored here.
    """
    try:
        declared = _read_header(card).get("configs")
    except (DataError, OSError):
        return [], False
    if not isinstance(declared, list):
        return [], False
    configs = [config for config in declared if isinstance(config, dict) and "config_name" in config]
    names = [str(config["config_name"]) for config in configs]
    return names, "default" in names or any(config.get("default") for config in configs)


def declares_features(card: Path) -> bool:
    """Whether a repository's card declares the columns of its data set."""
    try:
        declared = _read_header(card).get("dataset_info")
    except (DataError, OSError):
        return False
    return isinstance(declared, dict | list)


def check_card(name: str, folder: Path) -> None:
    """Checks the card of a folder before ``datasets`` follows it.

    Arguments:
        name: The name of the folder in error messages.
        folder: The folder.

    Raises:
        DataError: If it is too long, cannot be read, or declares files outside of the folder.
    """
    if os.path.lexists(folder / STANDALONE):
        raise DataError(f"{name}: configurations are read from {CARD} only; remove {STANDALONE}")
    try:
        header = _read_header(folder / CARD)
    except OSError as error:
        raise DataError(f"{name}: its {CARD} cannot be read ({error.strerror or error}); remove it") from None
    except DataError as error:
        raise DataError(f"{name}: its {CARD} {error}") from None
    for text in _texts([header.get("configs")]):
        if "://" in text or "::" in text or os.path.isabs(text) or text.startswith("~") or ".." in Path(text).parts:
            raise DataError(f"{name}: its {CARD} declares {text[:100]!r}, which is not in its folder; remove it")


def _read_header(card: Path) -> dict[str, Any]:
    """The header of a card; empty if there is none.

    Raises:
        DataError: If it cannot be read safely.
        OSError: If the file cannot be read.
    """
    if not os.path.isfile(card):  # False also if the permissions do not allow to check it
        return {}
    if card.stat().st_size > MAX_CARD_BYTES:
        raise DataError(f"has more than {MAX_CARD_BYTES / 1e6:.0f} MB; shorten it")
    header = _HEADER.search(card.read_text(encoding="utf-8-sig", errors="replace"))
    if header is None:
        return {}
    try:
        _check_structure(header[1])
        data = yaml.load(header[1], yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
    except DataError:
        raise
    except Exception as error:  # a value such as 2020-99-99 raises errors of any kind
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"has a header that is not YAML that can be read ({reason}); repair or remove it") from None
    return data if isinstance(data, dict) else {}


def _check_structure(text: str) -> None:
    """Raises DataError if YAML is nested deeply or repeats parts by aliases, which may stand for any amount of data."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise DataError("has a header that repeats parts by aliases (*name); write them out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise DataError(f"has a header that is nested more than {MAX_DEPTH} deep; simplify it")


def _texts(values: list[Any]) -> Iterator[str]:
    """Every text in data of lists and dictionaries."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _texts(list(value.values()))
        elif isinstance(value, list):
            yield from _texts(value)
