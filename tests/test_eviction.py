"""The cache is looked through once for each entry that is written, and entries are opened only if there is too much."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaekit.data import cache, cache_writer, list_cache, load_images

Calls = list[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images, and an empty cache."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "own"))
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.fromarray(np.full((9, 9), 60 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The names of what was called: ``scan`` for looking through the cache, ``open`` for each entry that it opened."""
    noted: Calls = []
    scan, open_entry = cache.sizes_of_entries, cache._entry

    def noted_scan() -> dict[Path, int]:
        noted.append("scan")
        return scan()

    def noted_open(folder: Path, num_bytes: int) -> cache.Entry:
        noted.append("open")
        return open_entry(folder, num_bytes)

    monkeypatch.setattr(cache, "sizes_of_entries", noted_scan)
    monkeypatch.setattr(cache, "_entry", noted_open)
    return noted


def test_each_written_entry_is_one_scan_that_opens_none(folder: Path, calls: Calls) -> None:
    for size in range(3, 9):
        load_images(folder, "all", size=size)
    assert calls == ["scan"] * 6
    assert len(list_cache()) == 6


def test_entries_that_are_there_are_loaded_without_a_scan(folder: Path, calls: Calls) -> None:
    load_images(folder, "all", size=5)
    del calls[:]
    for _ in range(3):
        assert load_images(folder, "all", size=5).pixels[:, 0, 0, 0].tolist() == [0, 60, 120, 180]
    assert calls == []


def test_an_entry_that_another_process_wrote_meanwhile_is_no_reason_to_scan(
    folder: Path, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_images(folder, "all", size=5)
    [entry] = list_cache()
    aside = shutil.move(entry.folder, tmp_path / "aside")
    del calls[:]
    is_intact = cache_writer.is_intact

    def appears(path: Path) -> bool:
        shutil.move(aside, path)
        return is_intact(path)

    monkeypatch.setattr(cache_writer, "is_intact", appears)
    assert len(load_images(folder, "all", size=5)) == 4
    assert calls == []


def test_beyond_the_limit_entries_are_opened_once(folder: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (3, 4, 5):
        load_images(folder, "all", size=size)
    monkeypatch.setenv("VAEKIT_CACHE_GB", "1e-9")
    del calls[:]
    load_images(folder, "all", size=6)
    assert calls == ["scan", *["open"] * 4]
    assert [entry.shape for entry in list_cache()] == [(1, 6, 6)]
