"""The cache: rows on disk, resumed decoding, full disks, and damaged entries."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.core.errors import DataError
from vaekit.data import ImageSet, cache_journal, cache_writer, clear_cache, list_cache, load_images, loading, row_files
from vaekit.data import cache as cache_module
from vaekit.data.cache import CACHE_FORMAT, locked_filling_folder
from vaekit.data.fitting import CENTER_CROP
from vaekit.data.loading import entry_folder
from vaekit.data.row_files import Rows
from vaekit.data.sources.folders import Folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for this test."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty images of noise, of two classes; number 7 is damaged."""
    noise = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    damaged = tmp_path / "images" / "b" / "07.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    return tmp_path / "images"


def expected(folder: Path) -> torch.Tensor:
    """The images that Pillow alone reads from the folder, in the order of names."""
    files = [file for file in sorted(folder.rglob("*.png")) if file.name != "07.png"]
    return torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])


# Rows on disk


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """Seven images on disk."""
    rows = Rows.create(tmp_path / "rows.npy", (7, 3, 4, 5))
    rows.write(0, make_pixels(7))
    yield rows
    rows.close()


def make_pixels(num: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Noise of shape (num, 3, 4, 5)."""
    return np.random.default_rng(1).integers(0, 256, (num, 3, 4, 5), np.uint8)


def test_rows_are_an_npy_file_and_are_read_in_any_order(rows: Rows) -> None:
    rows.sync()
    np.testing.assert_array_equal(np.load(rows.path), make_pixels(7))
    numbers = torch.tensor([6, 0, 3, 3])
    assert torch.equal(rows.index_select(0, numbers), torch.from_numpy(make_pixels(7))[numbers])
    np.testing.assert_array_equal(rows.read(2, 5), make_pixels(7)[2:5])
    assert (len(rows), rows.dim(), tuple(rows.shape), rows.row_bytes) == (7, 4, (7, 3, 4, 5), 60)


def test_rows_are_black_until_they_are_written(tmp_path: Path) -> None:
    rows = Rows.create(tmp_path / "black.npy", (3, 1, 2, 2))
    rows.write(2, np.full((1, 1, 2, 2), 9, np.uint8))
    assert rows.read(0, 3).sum((1, 2, 3)).tolist() == [0, 0, 36]


def test_rows_of_other_files_are_refused(rows: Rows, tmp_path: Path) -> None:
    rows.sync()
    cut = tmp_path / "cut.npy"
    cut.write_bytes(rows.path.read_bytes()[:-1])
    np.save(tmp_path / "floats.npy", np.zeros((2, 1, 2, 2)))
    (tmp_path / "text.npy").write_text("no array")
    for name, message in (("cut", r"cut\.npy.*420 bytes.*truncated"), ("floats", "npy .*uint8"), ("text", "header")):
        with pytest.raises(ValueError, match=message):
            Rows(tmp_path / f"{name}.npy")


def test_blocks_have_at_most_sixteen_megabytes(rows: Rows) -> None:
    assert rows.block_size == 256
    assert row_files.rows_per_block(3 * 512 * 512) == 21
    assert row_files.rows_per_block(10**9) == 1


# Data sets that are larger than memory


def test_splits_that_are_too_large_to_map_are_read_row_by_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = load_images(folder, "all")
    monkeypatch.setattr(cache_module, "MAPPED_BYTES", 1000)
    unmapped = load_images(folder, "all")
    assert isinstance(mapped.store, torch.Tensor)
    assert isinstance(unmapped.store, Rows)
    assert unmapped.shape == (3, 9, 12)
    assert torch.equal(unmapped.pixels, mapped.pixels)
    assert torch.equal(mapped.pixels, expected(folder))


# Interruptions


def fail_after(num: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[int]:
    """Makes decoding raise an error after ``num`` blocks of four images, each in the journal; returns where it started."""
    monkeypatch.setattr(row_files, "rows_per_block", lambda row_bytes: 4)
    monkeypatch.setattr(cache_journal, "JOURNAL_SECONDS", -1.0)
    starts: list[int] = []
    decode = cache_writer.decode

    def interrupted(*arguments: Any) -> Iterator[Any]:
        starts.append(arguments[-1])
        for number, block in enumerate(decode(*arguments)):
            yield block
            if number + 1 == num:
                raise error

    monkeypatch.setattr(cache_writer, "decode", interrupted)
    return starts


def test_interrupted_decoding_resumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = fail_after(3, monkeypatch, KeyboardInterrupt())
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            load_images(folder)
    [entry] = list_cache()
    assert (entry.state, entry.num) == ("incomplete", 0)
    images = load_images(folder, "all")
    assert starts == [0, 12, 24, 36]
    assert torch.equal(images.pixels, expected(folder))
    assert images.labels is not None
    assert images.labels.tolist() == [0] * 20 + [1] * 19
    [entry] = list_cache()
    assert (entry.state, entry.num) == ("complete", 39)
    printed = capsys.readouterr().err
    assert "images train: resuming after 36 of 40 images" in printed
    assert "1 of 40 images left out; b/07.png: not an image" in printed  # from a block that was not decoded again


def test_decoding_resumes_after_a_killed_process(folder: Path, own_cache: Path) -> None:
    program = (
        "from vaekit.data import cache_journal, cache_writer, load_images, row_files\n"
        "row_files.rows_per_block = lambda n: 4\n"
        "cache_journal.JOURNAL_SECONDS = -1.0; decode = cache_writer.decode\n"
        "def slow(*a):\n"
        "    for n, block in enumerate(decode(*a)):\n"
        "        yield block\n"
        "        if n == 4: print('now', flush=True); import time; time.sleep(60)\n"
        "cache_writer.decode = slow\n"
        f"load_images({str(folder)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    [filling] = own_cache.glob(".filling-*")
    assert json.loads((filling / "journal.json").read_text())["splits"]["train"]["done"] == 20
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert not list(own_cache.glob(".filling-*"))


@pytest.mark.parametrize("damage", ["journal", "count", "rows", "missing"])
def test_damaged_incomplete_entry_is_decoded_again(
    damage: str, folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = fail_after(3, monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        load_images(folder)
    [filling] = own_cache.glob(".filling-*")
    if damage == "journal":
        (filling / "journal.json").write_text('{"train": {"do')
    elif damage == "count":
        journal = json.loads((filling / "journal.json").read_text())
        journal["splits"]["train"]["done"] = 10**9
        (filling / "journal.json").write_text(json.dumps(journal))
    elif damage == "rows":
        (filling / "train.npy").write_bytes((filling / "train.npy").read_bytes()[:300])
    else:
        (filling / "train.npy").unlink()
    monkeypatch.undo()
    monkeypatch.setenv("VAEKIT_CACHE", str(own_cache))
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert starts == [0]


def test_two_processes_do_not_fill_one_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ImageSet] = []
    lines: list[str] = []
    waiting = threading.Event()

    def notify(line: str) -> None:
        lines.append(line)
        waiting.set()

    monkeypatch.setattr(cache_module, "notify", notify)
    thread = threading.Thread(target=lambda: loaded.append(load_images(folder, "all")))
    entry = entry_folder(Folder(folder), None, None, CENTER_CROP)
    entry.parent.mkdir()
    with locked_filling_folder(entry, ""):
        thread.start()
        assert waiting.wait(60)  # until the thread waits for the lock
        assert not loaded
        assert not entry.exists()
    thread.join(60)
    assert torch.equal(loaded[0].pixels, expected(folder))
    assert lines == ["images: another process is decoding these images; waiting for it"]


def test_entry_of_another_process_is_not_cleared(own_cache: Path) -> None:
    entry = own_cache / "images-0123456789abcdef"
    own_cache.mkdir()
    with locked_filling_folder(entry, "") as filling:
        filling.mkdir()
        assert clear_cache() == []
        assert filling.exists()
    assert [removed.folder for removed in clear_cache()] == [filling]
    assert list(own_cache.iterdir()) == []


# A full disk


@pytest.mark.parametrize("max_bytes", [2_000, 50_000])  # too small for the scratch folder, and for the images
def test_full_disk_is_one_line_and_leaves_nothing(max_bytes: int, folder: Path, own_cache: Path) -> None:
    def limit() -> None:
        """Limits the size of the files that a process writes, as a full disk does."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    command = [sys.executable, "-c", "import sys; from vaekit.cli import main; sys.exit(main())"]
    command += ["train", "--data", str(folder), "--size", "96", "--out", str(own_cache.parent / "run")]
    outcome = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    [line] = outcome.stderr.strip().splitlines()
    assert "the cache cannot be written" in line
    assert "vae data --clear" in line
    assert "VAEKIT_CACHE" in line
    assert list_cache() == []
    assert not (own_cache.parent / "run").exists()


def test_disk_that_fills_up_while_decoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(3, monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(DataError, match=r"cache.*No space left on device"):
        load_images(folder)
    assert list_cache() == []


# Damaged and outdated entries


@pytest.mark.parametrize("name", ["train.npy", "train-labels.npy", "meta.json"])
def test_damaged_entry_is_decoded_again(
    name: str, folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_images(folder)
    [entry] = own_cache.glob("images-*")
    (entry / name).write_bytes((entry / name).read_bytes()[:-9])
    assert [entry.state for entry in list_cache()] == ["unreadable"]
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert f"{entry}: a damaged cache entry" in capsys.readouterr().err
    assert [entry.state for entry in list_cache()] == ["complete"]


META_DAMAGE = {
    "empty object": "{}",
    "list": "[1]",
    "null": "null",
    "number": "1e999",
    "nothing": "",
    "nested": "[" * 100_000,
    "many digits": "9" * 5000,
    "not UTF-8": "\udcff",
    "no splits": json.dumps({"format": CACHE_FORMAT, "name": "images", "splits": {}}),
}


@pytest.mark.parametrize("damage", META_DAMAGE)
def test_entry_with_another_description_is_decoded_again(
    damage: str, folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_images(folder)
    [entry] = own_cache.glob("images-*")
    (entry / "meta.json").write_text(META_DAMAGE[damage], errors="surrogateescape")
    assert [entry.state for entry in list_cache()] == ["unreadable"]
    capsys.readouterr()
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    lines = [line for line in capsys.readouterr().err.splitlines() if "left out" not in line]
    assert len(lines) == 1
    assert f"{entry}: a damaged cache entry" in lines[0]


@pytest.mark.parametrize("name", ["train.npy", "train-labels.npy", "meta.json"])
def test_missing_file_is_decoded_again(name: str, folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_images(folder)
    [entry] = own_cache.glob("images-*")
    (entry / name).unlink()
    images = load_images(folder, "all")
    assert torch.equal(images.pixels, expected(folder))
    assert images.labels is not None
    assert f"{entry}: a damaged cache entry ({name}: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train.npy", "train-labels.npy", "meta.json"])
def test_no_flipped_bit_goes_unnoticed(name: str, folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = load_images(folder, "all")
    [entry] = own_cache.glob("images-*")
    content, random = (entry / name).read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        flipped = bytearray(content)
        flipped[random.integers(len(content))] ^= 1 << int(random.integers(8))
        (entry / name).write_bytes(flipped)
        images = load_images(folder, "all")
        assert torch.equal(images.pixels, expected(folder))  # the file that was mapped before has been overwritten
        assert (images.labels, images.classes, images.name, images.names) == (ANY, whole.classes, whole.name, whole.names)
        assert torch.equal(images.labels, whole.labels)  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("a damaged cache entry") >= 18  # the header of an array has bytes without meaning


def test_processes_that_decode_one_set_at_once_all_succeed(folder: Path, own_cache: Path) -> None:
    program = f"from vaekit.data import load_images; print(load_images({str(folder)!r}, 'all').fingerprint)"
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE) for _ in range(3)]
    outcomes = [process.communicate(timeout=100) for process in processes]
    assert {out for out, _ in outcomes} == {load_images(folder, "all").fingerprint + "\n"}
    assert all(err.count("left out") == 1 for _, err in outcomes)  # each says it once, whoever decoded the images
    assert [entry.state for entry in list_cache()] == ["complete"]


def test_entry_that_is_removed_while_it_is_opened_is_decoded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evict, left = loading.evict_entries, [2]

    def remove(entry: Path) -> None:
        evict(entry)
        if left and left.pop():
            shutil.rmtree(entry)

    monkeypatch.setattr(loading, "evict_entries", remove)
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    monkeypatch.setattr(loading, "evict_entries", shutil.rmtree)
    with pytest.raises(DataError, match="other processes remove it"):
        load_images(folder, size=5)


def test_nothing_but_entries_is_removed(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache may be in a folder of other things."""
    own_cache.mkdir()
    for name in ("my-photos", ".filling-my-form", "letters-2024"):
        (own_cache / name).mkdir()
        (own_cache / name / "mine.txt").write_text("mine")
    (own_cache / "linked-0123456789abcdef").symlink_to(own_cache / "my-photos")
    monkeypatch.setenv("VAEKIT_CACHE_GB", "1e-9")
    load_images(folder)
    load_images(folder, size=5)
    assert [entry.shape for entry in list_cache()] == [(3, 5, 5)]
    clear_cache()
    assert sorted(path.name for path in own_cache.glob("*/mine.txt")) == ["mine.txt"] * 4
    assert list_cache() == []


def test_entry_of_another_version_is_not_read(folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_images(folder)
    [entry] = own_cache.glob("images-*")
    meta = json.loads((entry / "meta.json").read_text())
    (entry / "meta.json").write_text(json.dumps(meta | {"format": CACHE_FORMAT - 1}))
    np.save(entry / "train.npy", np.zeros((40, 3, 9, 12), np.uint8))
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert "written by another version" in capsys.readouterr().err


def test_unreadable_entries_are_evicted_first(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_images(folder, size=8)
    own_cache.joinpath("older-0123456789abcdef").mkdir()
    own_cache.joinpath("older-0123456789abcdef", "train.npy").write_bytes(bytes(9000))
    monkeypatch.setenv("VAEKIT_CACHE_GB", "2.03e-5")
    load_images(folder, size=9)
    assert sorted(entry.shape for entry in list_cache()) == [(3, 8, 8), (3, 9, 9)]


def test_read_only_cache_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_images(folder)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(cache_writer, "fill", None)
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
