"""The cache: bit-equal however it came about, resumable, bounded, and never trusted when it is not whole."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.core.errors import DataError
from vaekit.data import Batches, ImageSet, batches, cached, clear_cache, disk, filling, load_images
from vaekit.data import cache as cache_module
from vaekit.data.cache import CACHE_FORMAT, filling_alone
from vaekit.data.row_files import Rows
from vaekit.data.sources.folders import Folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty images of noise, of two classes; the one numbered 7 is damaged."""
    draw = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    damaged = tmp_path / "images" / "b" / "07.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    return tmp_path / "images"


def expected(folder: Path) -> torch.Tensor:
    """What Pillow alone reads from the folder, in the order of names."""
    files = [file for file in sorted(folder.rglob("*.png")) if file.name != "07.png"]
    return torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])


# Rows on disk


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """Seven images on disk."""
    made = Rows.create(tmp_path / "rows.npy", (7, 3, 4, 5))
    made.write(0, make_pixels(7))
    yield made
    made.close()


def make_pixels(num: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Noise of shape (num, 3, 4, 5)."""
    return np.random.default_rng(1).integers(0, 256, (num, 3, 4, 5), np.uint8)


def test_rows_are_an_npy_file_and_are_read_in_any_order(rows: Rows) -> None:
    rows.sync()
    np.testing.assert_array_equal(np.load(rows.path), make_pixels(7))
    wanted = torch.tensor([6, 0, 3, 3])
    assert torch.equal(rows.index_select(0, wanted), torch.from_numpy(make_pixels(7))[wanted])
    np.testing.assert_array_equal(rows.read(2, 5), make_pixels(7)[2:5])
    assert (len(rows), rows.dim(), tuple(rows.shape), rows.row_bytes) == (7, 4, (7, 3, 4, 5), 60)


def test_rows_are_black_until_they_are_written(tmp_path: Path) -> None:
    rows = Rows.create(tmp_path / "black.npy", (3, 1, 2, 2))
    rows.write(2, np.full((1, 1, 2, 2), 9, np.uint8))
    assert rows.read(0, 3).sum((1, 2, 3)).tolist() == [0, 0, 36]


def test_rows_refuse_what_they_did_not_write(rows: Rows, tmp_path: Path) -> None:
    rows.sync()
    cut = tmp_path / "cut.npy"
    cut.write_bytes(rows.path.read_bytes()[:-1])
    np.save(tmp_path / "floats.npy", np.zeros((2, 1, 2, 2)))
    (tmp_path / "text.npy").write_text("no array")
    for name, says in (("cut", "cut short"), ("floats", "not uint8"), ("text", "magic")):
        with pytest.raises(ValueError, match=says):
            Rows(tmp_path / f"{name}.npy")


def test_blocks_hold_sixteen_megabytes_at_most(rows: Rows) -> None:
    assert rows.block == 256
    assert disk.block_of(3 * 512 * 512) == 21
    assert disk.block_of(10**9) == 1


# Sets that are larger than memory


def test_batches_from_disk_are_those_from_memory(tmp_path: Path, rows: Rows) -> None:
    memory, labels = torch.from_numpy(make_pixels(7)), torch.arange(7)
    where = torch.tensor([6, 5, 1, 2, 0])
    stores = [ImageSet(store, labels[where], rows=where) for store in (memory, rows)]
    both = [Batches(images, 2, seed=3) for images in stores]
    for _ in range(2):
        for ours, theirs in zip(*both, strict=True):
            assert torch.equal(ours.x, theirs.x)
            assert ours.y is not None
            assert torch.equal(ours.y, theirs.y)  # type: ignore[arg-type]
            assert torch.equal(ours.x, memory[ours.y])
    assert torch.equal(stores[1].pixels, memory[where])
    assert torch.equal(stores[1].to(torch.device("cpu")).pixels, memory[where])


def test_batches_from_disk_go_on_where_they_were_stopped(rows: Rows) -> None:
    whole = [batch.x for batch in Batches(ImageSet(rows), 2, seed=3)]
    stopped = Batches(ImageSet(rows), 2, seed=3)
    for number, _ in enumerate(stopped):
        if number == 1:
            break
    state = stopped.state_dict()
    resumed = Batches(ImageSet(rows), 2, seed=3)
    resumed.load_state_dict(state)
    rest = [batch.x for batch in resumed]
    assert [len(x) for x in rest] == [2, 1]
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[2:], strict=True))
    assert all(thread.name != "vaekit-read-ahead_0" for thread in threading.enumerate())


def test_what_is_too_large_to_map_is_read_row_by_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = load_images(folder, "all")
    monkeypatch.setattr(cache_module, "MAPPED_BYTES", 1000)
    read = load_images(folder, "all")
    assert isinstance(mapped.store, torch.Tensor)
    assert isinstance(read.store, Rows)
    assert read.shape == (3, 9, 12)
    assert torch.equal(read.pixels, mapped.pixels)
    assert torch.equal(mapped.pixels, expected(folder))


# Interruptions


def stop_after(num: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[int]:
    """Makes decoding stop after so many blocks of four images, each of them journalled; the blocks begun are listed."""
    monkeypatch.setattr(disk, "block_of", lambda row_bytes: 4)
    monkeypatch.setattr(filling, "SYNC_SECONDS", -1.0)
    begun: list[int] = []
    decode = filling.decode

    def interrupted(*arguments: Any) -> Iterator[Any]:
        begun.append(arguments[-1])
        for number, block in enumerate(decode(*arguments)):
            yield block
            if number + 1 == num:
                raise error

    monkeypatch.setattr(filling, "decode", interrupted)
    return begun


def test_interrupted_decoding_goes_on_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = stop_after(3, monkeypatch, KeyboardInterrupt())
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            load_images(folder)
    [left] = cached()
    assert (left.state, left.num) == ("unfinished", 0)
    images = load_images(folder, "all")
    assert begun == [0, 12, 24, 36]
    assert torch.equal(images.pixels, expected(folder))
    assert images.labels is not None
    assert images.labels.tolist() == [0] * 20 + [1] * 19
    [whole] = cached()
    assert (whole.state, whole.num) == ("whole", 39)
    said = capsys.readouterr().err
    assert "images train: going on after 36 of 40 images" in said
    assert "1 of 40 images left out; b/07.png: not an image" in said  # from a part that was not decoded again


def test_killed_process_leaves_what_can_be_gone_on_with(folder: Path, own_cache: Path) -> None:
    program = (
        "import sys; from vaekit.data import disk, filling, load_images; disk.block_of = lambda n: 4\n"
        "filling.SYNC_SECONDS = -1.0; decode = filling.decode\n"
        "def slow(*a):\n"
        "    for n, block in enumerate(decode(*a)):\n"
        "        yield block\n"
        "        if n == 4: print('now', flush=True); import time; time.sleep(60)\n"
        "filling.decode = slow\n"
        f"load_images({str(folder)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    [left] = own_cache.glob(".filling-*")
    assert json.loads((left / "journal.json").read_text())["train"]["done"] == 20
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert not list(own_cache.glob(".filling-*"))


@pytest.mark.parametrize("harm", ["journal", "rows", "missing"])
def test_unfinished_images_that_were_damaged_are_decoded_again(
    harm: str, folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = stop_after(3, monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        load_images(folder)
    [left] = own_cache.glob(".filling-*")
    if harm == "journal":
        (left / "journal.json").write_text('{"train": {"do')
    elif harm == "rows":
        (left / "train.npy").write_bytes((left / "train.npy").read_bytes()[:300])
    else:
        (left / "train.npy").unlink()
    monkeypatch.undo()
    monkeypatch.setenv("VAEKIT_CACHE", str(own_cache))
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert begun == [0]


def test_two_processes_do_not_fill_one_entry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[ImageSet] = []
    source = Folder(folder)
    thread = threading.Thread(target=lambda: found.append(load_images(folder, "all")))
    from vaekit.data.decode import CROP
    from vaekit.data.loading import _key, cache_folder

    entry = cache_folder() / f"images-{_key(source, None, None, CROP)}"
    entry.parent.mkdir()
    with filling_alone(entry, ""):
        thread.start()
        time.sleep(0.5)
        assert not found
        assert not entry.exists()
    thread.join(30)
    assert torch.equal(found[0].pixels, expected(folder))
    assert "another process is decoding these images" in capsys.readouterr().err


def test_what_another_process_fills_is_not_cleared(own_cache: Path) -> None:
    entry = own_cache / "images-0"
    own_cache.mkdir()
    with filling_alone(entry, "") as left:
        left.mkdir()
        assert clear_cache() == []
        assert left.exists()
    assert [one.folder for one in clear_cache()] == [left]
    assert list(own_cache.iterdir()) == []


# No room


@pytest.mark.parametrize("most", [2_000, 50_000])  # no room for what the source is read to, and none for images
def test_full_disk_is_a_clear_line_and_leaves_nothing(most: int, folder: Path, own_cache: Path) -> None:
    def limit() -> None:
        """Lets a process write no large file, as a full disk would."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    command = [sys.executable, "-c", "import sys; from vaekit.cli import main; sys.exit(main())"]
    command += ["train", "--data", str(folder), "--size", "96", "--out", str(own_cache.parent / "run")]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert "the cache cannot be written" in line
    assert "vae data --clear" in line
    assert "VAEKIT_CACHE" in line
    assert cached() == []
    assert not (own_cache.parent / "run").exists()


def test_disk_that_fills_up_while_decoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(3, monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        load_images(folder)
    assert cached() == []


# Entries that are not what they were


@pytest.mark.parametrize("name", ["train.npy", "train-labels.npy", "meta.json"])
def test_damaged_entry_is_made_again(name: str, folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_images(folder)
    [entry] = own_cache.glob("images-*")
    (entry / name).write_bytes((entry / name).read_bytes()[:-9])
    assert [one.state for one in cached()] == ["unreadable"]
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert f"{entry}: a damaged cache entry" in capsys.readouterr().err
    assert [one.state for one in cached()] == ["whole"]


def test_entry_of_another_version_is_not_read(folder: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_images(folder)
    [entry] = own_cache.glob("images-*")
    meta = json.loads((entry / "meta.json").read_text())
    (entry / "meta.json").write_text(json.dumps(meta | {"format": CACHE_FORMAT - 1}))
    np.save(entry / "train.npy", np.zeros((40, 3, 9, 12), np.uint8))
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))
    assert "written by another version" in capsys.readouterr().err


def test_unreadable_entries_go_first_when_room_is_needed(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_images(folder, size=8)
    own_cache.joinpath("older-1").mkdir()
    own_cache.joinpath("older-1", "train.npy").write_bytes(bytes(9000))
    monkeypatch.setenv("VAEKIT_CACHE_GB", "2e-5")
    load_images(folder, size=9)
    assert sorted(entry.shape for entry in cached()) == [(3, 8, 8), (3, 9, 9)]


def test_cache_that_may_only_be_read_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_images(folder)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(filling, "fill", None)
    assert torch.equal(load_images(folder, "all").pixels, expected(folder))


# Images on an accelerator


@pytest.mark.parametrize(("free", "held"), [(10_000, True), (1_000, False)])
def test_images_are_held_on_an_accelerator_with_room_for_them(
    free: int, held: bool, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[torch.device] = []

    def to(images: ImageSet, device: torch.device) -> ImageSet:
        moved.append(device)
        return images

    monkeypatch.setattr(ImageSet, "to", to)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    images = ImageSet(rows, rows=torch.arange(6))  # 360 bytes
    for device in ("cuda", "cpu"):
        batches.hold(images, torch.device(device))
    assert moved == [torch.device("cuda")] * held
