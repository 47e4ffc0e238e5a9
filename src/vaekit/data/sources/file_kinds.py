"""Kinds of files in folders and archives: images, tables, archives, metadata, and those that are not read.

A file is of a kind by its suffix. What is neither read nor known to be something else than an image is counted in one line,
so that no image is lost without a word.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

from vaekit.core.safe_text import printable
from vaekit.data.image_formats import FORMATS, HEIF_EXTRA, HEIF_SUFFIXES, reads_heif
from vaekit.data.sources.cards import CARD

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""The ends of names of archives."""
METADATA = frozenset(("metadata.csv", "metadata.jsonl", "metadata.parquet"))
"""The metadata files of the Hub's image folders, which hold columns such as labels."""
TABLE_SUFFIXES = frozenset((".parquet", ".arrow"))
"""The suffixes of tables in which a folder in the Hub's layout may hold its images."""
DESCRIPTIONS = frozenset((".csv", ".json", ".jsonl"))
"""The suffixes of files that may describe images."""
HIDDEN = (".", "__")
"""The prefixes of names that are ignored, as on the Hub: ``.DS_Store``, ``__MACOSX``."""
EXPECTED_SUFFIXES = frozenset(
    """.bib .cfg .class .cls .conf .csv .db .doc .docx .h .htm .html .in .info
    .ini .ipynb .js .json .jsonl .license .list .lnk .lock .log .lst .m .mat .md
    .md5 .names .ndjson .ods .odt .out .pdf .ppt .pptx .py .pyc .r .rst .rtf
    .sh .sha1 .sha256 .sum .tex .toml .tsv .txt .url .xls .xlsx .xml .xmp .yaml
    .yml""".split()  # noqa: SIM905, since a list would take a line for each
)
"""The suffixes of files that stand beside images and that nobody takes for images."""
EXPECTED_NAMES = frozenset(
    """authors changelog contributors copying dockerfile license makefile notice
    readme thumbs todo version""".split()  # noqa: SIM905, since a list would take a line for each
)
"""The names without a suffix of such files."""
MAX_KINDS = 8
"""The largest number of kinds of files that a line lists."""


@cache
def image_suffixes() -> frozenset[str]:
    """Returns the suffixes of image files that can be read here."""
    known = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
    return frozenset(known | set(HEIF_SUFFIXES if reads_heif() else ()))


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def archive_stem(name: str) -> str:
    """Returns the name of an archive without its suffix."""
    return re.sub(r"\.(zip|tgz|tar(\.\w+)?)$", "", name, flags=re.IGNORECASE)


def is_metadata(name: str) -> bool:
    """Whether a file describes images, or what they are for, by its name."""
    return name in METADATA or name == CARD


def describe_unread(names: Iterable[str]) -> str:
    """Returns the kinds of files that are not read, with their numbers, and what would read them; empty if there are none.

    Arguments:
        names: The names of files that are neither read nor hidden; those that nobody takes for images are left out.
    """
    kinds = Counter(_kind(PurePosixPath(name)) for name in names)
    del kinds[""]
    listed = [f"{num:,} {kind}{_remedy(kind)}" for kind, num in kinds.most_common(MAX_KINDS)]
    num_more = len(kinds) - MAX_KINDS
    return ", ".join(listed) + (f", and {num_more:,} kinds more" if num_more > 0 else "")


def count_unread(names: Iterable[str]) -> int:
    """Returns the number of files that :func:`describe_unread` counts."""
    return sum(_kind(PurePosixPath(name)) != "" for name in names)


def unread_line(source: str, names: Iterable[str]) -> str:
    """Returns the line about files of a source that are not read; empty if there are none."""
    every = list(names)
    num = count_unread(every)
    return f"{source}: {num:,} {'file is' if num == 1 else 'files are'} not read: {describe_unread(every)}" if num else ""


def relative_names(root: Path, files: Iterable[Path]) -> list[str]:
    """Returns the names of files relative to a folder."""
    return [file.relative_to(root).as_posix() for file in files]


def _kind(name: PurePosixPath) -> str:
    """The kind of a file that is not read, as it is listed; empty if nobody takes it for an image."""
    suffix = name.suffix.lower()
    stem = name.name.split(".")[0].lower()
    if suffix in EXPECTED_SUFFIXES or stem in EXPECTED_NAMES:
        return ""
    return printable(suffix, 12) if suffix else "without a suffix"


def _remedy(kind: str) -> str:
    """What reads files of a kind, in parentheses."""
    if kind in HEIF_SUFFIXES:
        return f" (pip install '{HEIF_EXTRA}' reads them)"
    if kind in (".npy", ".npz"):
        return " (give the file itself)"
    return ""
