"""Atomic writes: a reader sees the old content or the new one, and nothing is left behind."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vaekit.core.files import atomic_path, write_bytes, write_json, write_text


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text("old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert (partial.parent, partial.suffix) == (tmp_path, ".txt")
        assert partial.name.startswith(".")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["model.txt"]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_path(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass
    assert path.read_text() == "old"


def test_text_and_json_are_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "µ ± σ")
    assert (tmp_path / "a.txt").read_bytes().decode() == "µ ± σ"
    write_json(tmp_path / "a.json", {"value": 1.5, "names": ["µ"]})
    assert (tmp_path / "a.json").read_text() == '{\n  "value": 1.5,\n  "names": [\n    "\\u00b5"\n  ]\n}\n'


def test_what_a_killed_process_left_is_removed_when_the_file_is_written_again(tmp_path: Path) -> None:
    for name in (
        ".vaekit-partial-999999999-a.txt",
        ".vaekit-partial-999999999-b.txt",
        f".vaekit-partial-{os.getppid()}-a.txt",
        "c-a.txt",
    ):
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.txt", "c-a.txt", ".vaekit-partial-999999999-b.txt", f".vaekit-partial-{os.getppid()}-a.txt"}


@pytest.mark.parametrize("write", [write_bytes, lambda path, data: write_text(path, data.decode())])
def test_a_device_or_a_pipe_is_not_replaced(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        write(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1
