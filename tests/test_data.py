"""Loading images: sources, fitting, unreadable files, inspection, and the listing of the cache."""

import json
import os
import shutil
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.core.errors import DataError
from vaekit.data import (
    clear_cache,
    fit,
    inspect,
    list_cache,
    load_images,
)
from vaekit.data.cache import cache_folder
from vaekit.data.fitting import Fitting
from vaekit.data.levels import Levels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Color and gray images of two classes and several sizes."""
    for number, (name, color) in enumerate([("red", (255, 0, 0)), ("blue", (0, 0, 255))]):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(6):
            size = (20 + 4 * index, 30 - 2 * index - number)
            Image.new("RGB", size, color).save(tmp_path / "images" / name / f"{index}.png")
    return tmp_path / "images"


def test_digits_are_those_of_scikit_learn() -> None:
    train, test = load_images("digits"), load_images("digits", "test")
    assert (len(train), len(test), train.shape) == (1438, 359, (1, 8, 8))
    whole = load_images("digits", "all")
    assert sorted(set(torch.cat([train.rows, test.rows]).tolist())) == list(range(1797))
    assert (whole.pixels.min().item(), whole.pixels.max().item()) == (0, 255)
    from sklearn.datasets import load_digits

    reference = load_digits()
    np.testing.assert_array_equal(whole.labels.numpy(), reference.target)
    np.testing.assert_allclose(whole.pixels[:, 0].numpy() / 255 * 16, reference.images, atol=0.05)
    assert torch.equal(train.gather(torch.tensor([5])), train.pixels[5:6])


def test_digits_fit_any_size() -> None:
    large = load_images("digits", size=28)
    assert large.shape == (1, 28, 28)
    small, labels = load_images("digits"), load_images("digits").labels
    assert torch.equal(large.labels, labels)
    shrunk = torch.nn.functional.adaptive_avg_pool2d(large.pixels[:50].float(), 8)
    correlation = torch.corrcoef(torch.stack([shrunk.flatten(), small.pixels[:50].float().flatten()]))[0, 1]
    assert correlation > 0.97


def test_cached_images_are_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images("digits")
    monkeypatch.setattr("vaekit.data.sources.arrays.Digits.read", lambda self, scratch: pytest.fail("decoded again"))
    again = load_images("digits")
    assert torch.equal(first.pixels, again.pixels)
    assert first.fingerprint == again.fingerprint != ""


def test_writing_to_mapped_images_does_not_change_the_cache() -> None:
    images = load_images("digits", "all")
    before = images.store[0].clone()
    images.store[0] = 99
    assert torch.equal(load_images("digits", "all").store[0], before)


def test_a_folder_of_images_is_fitted(folder: Path) -> None:
    images = load_images(folder, "all", size=16)
    assert images.shape == (3, 16, 16)
    assert images.classes == ("blue", "red")
    for name, channel in (("red", 0), ("blue", 2)):
        pixels = images.pixels[images.labels == images.classes.index(name)]
        assert len(pixels) == 6
        assert pixels[:, channel].float().mean() == 255
        assert pixels.float().mean() == 85
    gray = load_images(folder, "all", size=(8, 12), channels=1)
    assert gray.shape == (1, 8, 12)
    assert gray.pixels[images.labels == 1].unique().tolist() == [76]  # ITU-R 601 luma of pure red
    with pytest.raises(DataError, match=r"several sizes.*--size 16"):
        load_images(folder, "all")


def test_a_changed_folder_is_decoded_again(folder: Path) -> None:
    before = load_images(folder, "all", size=4)
    target = folder / "red" / "0.png"
    Image.new("RGB", (20, 30), (0, 255, 0)).save(target)
    os.utime(target, ns=(time.time_ns(), time.time_ns() + 10**9))
    after = load_images(folder, "all", size=4)
    assert before.fingerprint != after.fingerprint
    assert (after.pixels[:, 1].float().mean((1, 2)) == 255).sum() == 1


def damage(path: Path) -> None:
    """Cuts a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_too_many_damaged_images_are_an_error_and_leave_no_cache(folder: Path) -> None:
    damage(folder / "red" / "3.png")
    entries = list_cache()
    with pytest.raises(DataError, match=r"images: 1 of 12 images .*5%.*3\.png"):
        load_images(folder, size=8)
    assert list_cache() == entries


def test_few_damaged_images_are_left_out_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for number in range(60):
        Image.new("L", (5, 4), number).save(tmp_path / "set" / "ab"[number % 2] / f"{number:02}.png")
    damage(tmp_path / "set" / "b" / "33.png")
    (tmp_path / "set" / "a" / "44.png").write_text("no image")
    images = load_images(tmp_path / "set", "all")
    printed = capsys.readouterr().err
    assert printed.startswith("set: 2 of 60 images left out; ")
    assert printed.count("\n") == 1
    assert "44.png: not an image that can be read; " in printed
    assert "33.png: not an image that can be read" in printed
    levels = images.pixels[:, 0, 0, 0].tolist()
    assert sorted(levels) == [number for number in range(60) if number not in (33, 44)]
    assert images.labels is not None
    assert [images.classes[label] for label in images.labels] == ["ab"[level % 2] for level in levels]
    assert (images.pixels == images.pixels[:, :1, :1, :1]).all()
    again = load_images(tmp_path / "set", "all")
    assert torch.equal(again.pixels, images.pixels)
    assert again.fingerprint == images.fingerprint
    assert capsys.readouterr().err == ""  # reported only when they are decoded


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_decompression_bombs_loops_and_unicode_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = tmp_path / "set" / "Bücher"
    inner.mkdir(parents=True)
    for number in range(30):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(inner / f"{number}-日本.png")
    (inner / "loop").symlink_to(tmp_path / "set", target_is_directory=True)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    (inner / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IEND", b""))
    images = load_images(tmp_path / "set", "all")
    assert sorted(images.pixels[:, 0, 0, 0].tolist()) == list(range(30))
    assert "1 of 31 images left out; Bücher/bomb.png: not an image that can be read (Image size" in capsys.readouterr().err


def test_images_are_cropped_padded_or_stretched(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    stripes = np.repeat(np.array([0, 100, 200], np.uint8), 4)[None].repeat(4, 0)  # 4 x 12: black, gray, light
    for number in range(2):
        Image.fromarray(stripes).save(tmp_path / "set" / f"{number}.png")

    def loaded(**options: Any) -> np.ndarray:
        return load_images(tmp_path / "set", "all", size=12, **options).pixels[0, 0].numpy()

    assert abs(loaded(fit="crop")[:, 2:-2].astype(int) - 100).max() <= 12  # the middle third, except at its borders
    padded = loaded(fit="pad", background="white")
    assert np.array_equal(padded[4:8], stripes)
    assert (padded[:4] == 255).all()
    assert (padded[8:] == 255).all()
    assert (loaded(fit="pad", background="#000000")[:4] == 0).all()
    assert np.array_equal(loaded(fit="stretch"), stripes[:1].repeat(12, 0))
    with pytest.raises(DataError, match=r"greenish: .*color"):
        loaded(background="greenish")


def pack(folder: Path, path: Path) -> Path:
    """Packs a folder into an archive of the format of the suffix."""
    kind = {".zip": "zip", ".tar": "tar", ".tar.gz": "gztar", ".tgz": "gztar"}["".join(path.suffixes)]
    made = Path(shutil.make_archive(str(path.with_name("made")), kind, folder))
    return made.rename(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_archive_equals_its_folder(suffix: str, folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / f"packed{suffix}")
    images, expected = load_images(archive, "all", size=8), load_images(folder, "all", size=8)
    assert torch.equal(images.pixels, expected.pixels)
    assert images.labels is not None
    assert torch.equal(images.labels, expected.labels)
    assert (images.name, images.classes) == ("packed", ("blue", "red"))


def test_parquet_file_equals_its_folder(folder: Path, tmp_path: Path) -> None:
    import datasets

    data = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "hf"))
    data.to_parquet(tmp_path / "set.parquet")
    images, expected = load_images(tmp_path / "set.parquet", "all", size=8), load_images(folder, "all", size=8)
    assert torch.equal(images.pixels, expected.pixels)
    assert torch.equal(images.labels, expected.labels)


def test_list_of_files_is_relative_to_its_folder(folder: Path) -> None:
    (folder / "list.txt").write_text("# some\nred/2.png\n\nblue/0.png\nred/0.png\n", encoding="utf-8")
    images = load_images(folder / "list.txt", "all", size=4)
    assert images.pixels[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255], [255, 0, 0]]
    assert images.labels is None


def test_inspection_counts_images_and_lists_unreadable_ones(folder: Path, tmp_path: Path) -> None:
    damage(folder / "red" / "3.png")
    Image.new("L", (7, 9), 50).save(folder / "blue" / "Übung.png")
    for source in (folder, pack(folder, tmp_path / "packed.zip")):
        (summary,) = inspect(source)
        assert (summary.split, summary.num, summary.channels) == ("train", 13, 3)
        assert summary.modes == {"RGB": 11, "L": 1}
        assert (sum(summary.sizes.values()), summary.sizes[9, 7], summary.sizes[30, 20]) == (12, 1, 1)
        assert summary.classes == {"blue": 7, "red": 6}
        assert [(image.name, image.reason.split(" (")[0]) for image in summary.skipped] == [
            ("red/3.png", "not an image that can be read")
        ]
        centers = summary.sheet[:, :, 48, 48].tolist()
        assert sorted(map(tuple, centers)) == sorted([(0, 0, 255)] * 6 + [(255, 0, 0)] * 5 + [(50, 50, 50), (255, 255, 255)])


def test_cache_is_listed_and_cleared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "own"))
    assert list_cache() == []
    load_images(folder, size=8)
    (tmp_path / "own" / ".filling-left-0123456789abcdef").mkdir()
    incomplete, complete = list_cache()
    assert (complete.name, complete.shape, complete.num) == ("images", (3, 8, 8), 12)
    assert complete.num_bytes >= 12 * 3 * 8 * 8
    assert (incomplete.num, incomplete.shape) == (0, ())
    assert clear_cache() == [incomplete, complete]
    assert list((tmp_path / "own").iterdir()) == []


def test_cache_is_limited_and_evicts_the_least_recently_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("VAEKIT_CACHE_GB", "12.95e-6")  # three entries of 3.1, 3.6 and 4.2 kB
    for age, size in enumerate((8, 9, 10)):
        load_images(folder, "all", size=size)
        for entry in list_cache():
            if entry.shape == (3, size, size):
                os.utime(entry.folder / "meta.json", (age, age))
    assert sorted(entry.shape[1] for entry in list_cache()) == [8, 9, 10]
    used = load_images(folder, "all", size=8)  # the oldest entry, and now the most recently used
    load_images(folder, "all", size=11)
    assert sorted(entry.shape[1] for entry in list_cache()) == [8, 10, 11]
    kept = used.pixels.clone()
    load_images(folder, "all", size=40)  # larger than the limit by itself
    assert [entry.shape[1] for entry in list_cache()] == [40]
    assert torch.equal(used.pixels, kept)  # mapped images stay readable
    monkeypatch.setenv("VAEKIT_CACHE_GB", "plenty")
    with pytest.raises(DataError, match=r"VAEKIT_CACHE_GB=plenty: .*number"):
        load_images(folder, "all", size=12)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(("shape", "dtype"), [((9, 5, 4), "uint8"), ((9, 1, 5, 4), "float32"), ((9, 5, 4, 3), "uint8")])
def test_array_files(suffix: str, shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    stored = array if dtype == "uint8" else (array / 255).astype(dtype)
    path = tmp_path / f"images{suffix}"
    np.save(path, stored) if suffix == ".npy" else np.savez(path, images=stored, labels=np.arange(9) % 2)
    images = load_images(path, "all")
    expected = array.reshape(9, -1, 5, 4) if shape[-1] != 3 else array.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.pixels.numpy(), expected)
    assert (images.labels is None) == (suffix == ".npy")


def test_array_files_with_splits(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((7, 4, 4), "uint8"), "y_train": np.arange(7) % 3}
    arrays |= {"x_test": np.full((3, 4, 4), 255, "uint8"), "y_test": np.array([2, 1, 0])}
    np.savez(tmp_path / "set.npz", **arrays)
    assert load_images(tmp_path / "set.npz").pixels.max() == 0
    test = load_images(tmp_path / "set.npz", "test")
    assert test.pixels.min() == 255
    assert test.labels.tolist() == [2, 1, 0]


def test_arrays_in_python() -> None:
    array = np.random.default_rng(0).random((12, 4, 6))
    images = load_images(array, "all")
    np.testing.assert_allclose(images.pixels[:, 0].numpy() / 255, array, atol=0.002 + 1 / 510)
    assert len(load_images(array, "train")) + len(load_images(array, "test")) == 12
    with pytest.raises(DataError, match=r"array: .*\(12, 4\)"):
        load_images(array[:, :, 0])


@pytest.mark.parametrize("online", [True, False])
def test_hub_id_is_downloaded_once(online: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Online it is downloaded, offline an earlier download is used; cached images need neither."""
    requests: list[tuple[str, str | None]] = []

    def snapshot(repo: str, *, repo_type: str, revision: str | None, local_files_only: bool) -> str:
        assert repo_type == "dataset"
        assert local_files_only == (not online)
        requests.append((repo, revision))
        return str(folder)

    def probe(self: object, repo: str, *, repo_type: str, revision: str | None, timeout: float) -> None:
        assert timeout <= 5
        if not online:
            raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", probe)
    monkeypatch.delenv("VAEKIT_DATA", raising=False)
    images = load_images(f"someone/images-{online}@v2", "all", size=8)
    assert requests == [(f"someone/images-{online}", "v2")]
    assert torch.equal(images.pixels, load_images(folder, "all", size=8).pixels)
    load_images(f"someone/images-{online}@v2", "all", size=8)
    assert len(requests) == 1  # the cache needs no network


def test_local_copy_of_a_hub_data_set_has_precedence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "mnist").symlink_to(folder)
    monkeypatch.setenv("VAEKIT_DATA", str(folder.parent))
    images = load_images("mnist", "all", size=8)
    assert (images.name, len(images)) == ("mnist", 12)


def test_transparency_orientation_and_depth() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.unique(fit(clear, (4, 4), 3)).tolist() == [255]
    deep = Image.fromarray(np.full((4, 4), 51_400, np.uint16))
    assert np.unique(fit(deep, (4, 4), 1, Fitting(levels=Levels(integers=(0, 65_535))))).tolist() == [200]
    palette = Image.new("RGB", (4, 4), (10, 20, 30)).convert("P")
    assert fit(palette, (2, 2), 3).shape == (3, 2, 2)
    wide = Image.fromarray(np.tile(np.repeat(np.array([0, 255, 0], np.uint8), 8), (8, 1)))  # white in the center
    assert fit(wide, (8, 8), 1).min() == 255


def test_metadata_of_cache_entries() -> None:
    load_images("digits", size=10)
    entries = [json.loads((e / "meta.json").read_text()) for e in cache_folder().glob("digits-*")]
    assert all(meta["name"] == "digits" and len(meta["splits"]["train"]["fingerprint"]) == 16 for meta in entries)
