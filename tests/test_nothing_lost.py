"""Nothing is lost without a word: files that are not read, archives in folders, stray images, and incomplete metadata.

The cases are situations that users of such tools reported in public.
"""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import Refuse, done
from tests.image_sources import class_by_level, levels, write_image, write_images, write_metadata
from vaekit.core.errors import DataError
from vaekit.data import inspect, load_images
from vaekit.data.image_formats import HEIF_PACKAGE, reads_heif
from vaekit.data.sources.archive_limits import SMALL_BYTES
from vaekit.data.sources.file_kinds import image_suffixes
from vaekit.data.sources.resolve import resolve

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)
"""The beginning of a photo of a phone."""

without_heif = pytest.mark.skipif(reads_heif(), reason=f"{HEIF_PACKAGE} is installed")


def encoded(level: int) -> bytes:
    """A small PNG file of one gray level."""
    file = io.BytesIO()
    Image.new("L", (4, 4), level).save(file, "PNG")
    return file.getvalue()


def write_zip(path: Path, names: list[str], first: int = 0, **others: bytes) -> Path:
    """Writes a zip of images with these names and gray levels from ``first`` on, and of other files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for level, name in enumerate(names, first):
            archive.writestr(name, encoded(level))
        for name, content in others.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def classes(folder: Path) -> dict[str, dict[str, int]]:
    """The number of images of each class in each split."""
    return {summary.split: summary.classes for summary in inspect(folder)}


def numbers(folder: Path) -> dict[str, int]:
    """The number of images in each split."""
    return {summary.split: summary.num for summary in inspect(folder)}


# Files that are not read


@without_heif
def test_photos_of_phones_are_named_with_what_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "set", [f"{number}.png" for number in range(5)])
    for number in range(100):
        (folder / f"IMG_{number}.HEIC").write_bytes(HEIC)
    assert numbers(folder) == {"train": 5}
    assert levels(load_images(folder, "all")) == [0, 1, 2, 3, 4]
    lines = capsys.readouterr().err.splitlines()
    line = f"{folder}: 100 files are not read: 100 .heic (pip install 'vaekit[heic]' reads them)"
    assert lines == [line, line]


@without_heif
def test_folder_of_photos_of_phones_alone(tmp_path: Path, refuse: Refuse) -> None:
    for name in ("pics/a.heic", "pics/b.HEIF"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(HEIC)
    refuse("data", "pics", says=("pics: no images", "1 .heic", "1 .heif", "pip install 'vaekit[heic]'"))


@without_heif
def test_photo_of_a_phone_with_another_suffix(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["0.png", "1.png"])
    (folder / "photo.jpg").write_bytes(HEIC)
    (skipped,) = inspect(folder)[0].skipped
    assert (skipped.name, "HEIF" in skipped.reason, "vaekit[heic]" in skipped.reason) == ("photo.jpg", True, True)


def test_an_extra_that_is_installed_reads_photos_of_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache entry is another one, so that the images are decoded anew once the package is installed."""
    folder = write_images(tmp_path / "set", ["0.png"])
    (folder / "a.heic").write_bytes(HEIC)
    outcomes = {}
    for installed in (False, True):
        for module in ("vaekit.data.sources.file_kinds", "vaekit.data.sources.source"):
            monkeypatch.setattr(f"{module}.reads_heif", lambda installed=installed: installed)
        image_suffixes.cache_clear()
        (summary,) = inspect(folder)
        outcomes[installed] = (summary.num, resolve(folder).identity().get("heif", False))
    monkeypatch.undo()
    image_suffixes.cache_clear()
    assert outcomes == {False: (1, False), True: (2, True)}


def test_files_of_other_kinds_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "set", ["0.png", "1.png"])
    for name in ("a.mp4", "b.MP4", "c.svg", "IMG_0001", "d.npy"):
        (folder / name).write_bytes(b"no image")
    for name in ("notes.txt", "a.json", "notes.csv", "README.md", "Thumbs.db", "LICENSE", ".hidden.mp4", "desktop.ini"):
        (folder / name).write_text("expected beside images")
    assert numbers(folder) == {"train": 2}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder}: 5 files are not read: 2 .mp4, ")
    assert set(line.split(": ")[-1].split(", ")) == {
        "2 .mp4",
        "1 .svg",
        "1 without a suffix",
        "1 .npy (give the file itself)",
    }


def test_files_that_are_not_read_in_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_zip(tmp_path / "pics.zip", ["0.png", "1.png"], a__heic=HEIC, b__mp4=b"", c__txt=b"")
    with_tar = tmp_path / "pics.tar"
    with tarfile.open(with_tar, "w") as archive:
        for name in ("0.png", "clip.mp4"):
            member = tarfile.TarInfo(name)
            member.size = len(encoded(0))
            archive.addfile(member, io.BytesIO(encoded(0)))
    assert (numbers(path), numbers(with_tar)) == ({"train": 2}, {"train": 1})
    first, second = capsys.readouterr().err.splitlines()
    assert "1 .mp4" in first
    assert second == f"{with_tar}: 1 file is not read: 1 .mp4"


def test_upper_case_suffixes_in_an_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", ["IMG_6003.JPG", "IMG_6004.Png", "IMG_6005.JPEG"])
    assert levels(load_images(path, "all")) == [0, 1, 2]


def test_one_image_beside_the_folders_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "set", [f"{'ab'[number % 2]}/{number}.png" for number in range(10)])
    write_image(folder / "preview.png", 99)
    images = load_images(folder, "all")
    assert class_by_level(images) == {number: "ab"[number % 2] for number in range(10)}
    assert capsys.readouterr().err == f"{folder}: 1 image beside the folders of the classes is left out: preview.png\n"


def test_many_images_beside_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{'ab'[number % 2]}/{number}.png" for number in range(6)]
    folder = write_images(tmp_path / "set", [*names, *(f"{number}.png" for number in range(6, 12))])
    images = load_images(folder, "all")
    assert (sorted(levels(images)), images.labels) == (list(range(12)), None)
    assert "6 of 12 images are beside folders" in capsys.readouterr().err


def test_test_images_without_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The layout of competitions, whose test labels are secret."""
    folder = write_images(tmp_path / "set", ["train/cat/0.png", "train/dog/1.png", "test/2.png", "test/3.png"])
    train, test = load_images(folder), load_images(folder, "test")
    assert class_by_level(train) == {0: "cat", 1: "dog"}
    assert (levels(test), test.labels) == ([2, 3], None)
    assert "the images of test are in no folders of classes" in capsys.readouterr().err


# Metadata


def test_metadata_that_names_ten_of_twelve_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number}.png" for number in range(12)]
    folder = write_metadata(write_images(tmp_path / "set", names), [*"ababababab"])
    assert class_by_level(load_images(folder, "all")) == {number: "ab"[number % 2] for number in range(10)}
    assert capsys.readouterr().err == (
        f"{folder}: 2 of 12 images are not named in metadata.csv and are left out: 10.png, 11.png\n"
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["None", "glioma"], ("None", "glioma")),
        (["NA", "EU"], ("EU", "NA")),
        (["001", "002"], ("001", "002")),
        (["0.0", "1.0"], ("0.0", "1.0")),
        (["nan", "null"], ("nan", "null")),
        (["1", "01"], ("01", "1")),
        (["True", "true"], ("True", "true")),
        (["1e3", "1000"], ("1e3", "1000")),
    ],
)
def test_classes_of_a_csv_file_are_its_text(labels: list[str], expected: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_metadata(write_images(tmp_path / "set", ["0.png", "1.png", "2.png"]), [*labels, labels[0]])
    images = load_images(folder, "all")
    assert images.classes == expected
    assert class_by_level(images) == {0: labels[0], 1: labels[1], 2: labels[0]}


def test_classes_of_a_declared_repository_are_its_text(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_metadata(write_images(folder / "data", [f"{number}.png" for number in range(4)]), ["None", "001"] * 2)
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_dir: data\n---\n")
    assert class_by_level(load_images(folder, "all")) == {0: "None", 1: "001", 2: "None", 3: "001"}


def test_names_of_files_with_leading_zeros_and_without_suffixes(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["0001.png", "0002.png", "0010.png"])
    (folder / "metadata.csv").write_text("file_name,label\n0001,a\n0010,b\n0002,a\n")
    assert class_by_level(load_images(folder, "all")) == {0: "a", 2: "b", 1: "a"}


def test_metadata_in_another_unicode_form_than_its_files(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["cafe\u0301.png", "b.png"])
    (folder / "metadata.csv").write_text("file_name;label\ncaf\u00e9.png;a\nb.png;b\n", encoding="utf-8-sig")
    assert class_by_level(load_images(folder, "all")) == {0: "a", 1: "b"}


def test_fractions_are_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_metadata(write_images(tmp_path / "set", ["0.png", "1.png", "2.png"]), ["0.5", "0.25", "1"])
    assert load_images(folder, "all").labels is None
    assert "label holds fractions, as 0.25" in capsys.readouterr().err


def test_two_kinds_of_metadata(tmp_path: Path, refuse: Refuse) -> None:
    folder = write_images(tmp_path / "set", ["0.png", "1.png"])
    write_metadata(write_metadata(folder, ["a", "b"]), ["b", "a"], "jsonl")
    refuse("data", "set", says=("set: ", "metadata.csv and metadata.jsonl", "keep one"))


# Archives in folders


def test_archive_in_a_folder_is_read(tmp_path: Path) -> None:
    write_zip(tmp_path / "set" / "train.zip", [f"{'ab'[number % 2]}/{number:02}.png" for number in range(20)])
    images = load_images(tmp_path / "set", "all")
    assert class_by_level(images) == {number: "ab"[number % 2] for number in range(20)}
    assert images.names[:2] == ("train.zip/a/00.png", "train.zip/a/02.png")


def test_archives_that_are_splits(tmp_path: Path) -> None:
    write_zip(tmp_path / "set" / "train.zip", ["a/0.png", "b/1.png"])
    write_zip(tmp_path / "set" / "test.zip", ["a/0.png", "b/1.png", "b/2.png"], first=10)
    assert class_by_level(load_images(tmp_path / "set")) == {0: "a", 1: "b"}
    assert class_by_level(load_images(tmp_path / "set", "test")) == {10: "a", 11: "b", 12: "b"}


def test_archives_that_are_parts_or_classes(tmp_path: Path) -> None:
    for number in (1, 2):
        write_zip(tmp_path / "parts" / f"images_{number:02}.zip", ["a/0.png", "b/1.png"], first=10 * number)
    for name in ("cats", "dogs"):
        write_zip(tmp_path / "classes" / f"{name}.zip", ["0.png", "1.png"])
    assert class_by_level(load_images(tmp_path / "parts", "all")) == {10: "a", 11: "b", 20: "a", 21: "b"}
    assert classes(tmp_path / "classes") == {"train": {"cats": 2, "dogs": 2}}


def test_archive_beside_folders_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is most likely a copy of the images, which must not be read twice."""
    folder = write_images(tmp_path / "set", ["a/0.png", "b/1.png"])
    write_zip(folder / "backup.zip", ["a/0.png", "b/1.png"])
    assert class_by_level(load_images(folder, "all")) == {0: "a", 1: "b"}
    assert capsys.readouterr().err.startswith(f"{folder}: backup.zip is not read")


def test_archives_of_a_declared_repository(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_zip(folder / "data" / "train.zip", ["a/0.png", "b/1.png", "b/2.png"])
    write_zip(folder / "data" / "test.zip", ["a/0.png", "b/1.png"], first=10)
    paths = "\n".join(f"  - split: {split}\n    path: data/{split}.zip" for split in ("train", "test"))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{paths}\n---\n")
    train, test = load_images(folder), load_images(folder, "test")
    assert (class_by_level(train), class_by_level(test)) == ({0: "a", 1: "b", 2: "b"}, {10: "a", 11: "b"})
    assert train.names == ("data/train.zip/a/0.png", "data/train.zip/b/1.png", "data/train.zip/b/2.png")


def test_flat_archives_of_a_declared_repository_have_no_classes(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for split in ("train", "test"):
        write_zip(folder / "data" / f"{split}.zip", ["0.png", "1.png"])
    paths = "\n".join(f"  - split: {split}\n    path: data/{split}.zip" for split in ("train", "test"))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{paths}\n---\n")
    assert classes(folder) == {"train": {}, "test": {}}


def test_metadata_in_and_beside_archives(tmp_path: Path) -> None:
    write_zip(tmp_path / "within" / "train.zip", ["0.png", "1.png"], metadata__csv=b"file_name,label\n0.png,NA\n1.png,b\n")
    write_zip(tmp_path / "beside" / "train.zip", ["0.png", "1.png"])
    (tmp_path / "beside" / "metadata.csv").write_text("file_name,label\n0.png,NA\n1.png,b\n")
    for name in ("within", "beside"):
        assert class_by_level(load_images(tmp_path / name, "all")) == {0: "NA", 1: "b"}


def test_archives_in_a_folder_have_the_limits_of_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_zip(tmp_path / "bomb" / "a.zip", []), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(SMALL_BYTES + 1))
    write_zip(tmp_path / "out" / "a.zip", ["../../evil.png"])
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.zip").write_bytes(b"PK\3\4")
    for name, noun in (("bomb", "would expand"), ("out", "outside"), ("damaged", "unpacked")):
        with pytest.raises(DataError, match=f"{name}: a.zip: .*{noun}"):
            inspect(tmp_path / name)


def test_many_small_bombs_are_one(tmp_path: Path) -> None:
    for number in range(3):
        with zipfile.ZipFile(write_zip(tmp_path / "set" / f"{number}.zip", []), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", bytes(SMALL_BYTES // 2 - 1))
    with pytest.raises(DataError, match=r"set: its archives .*would expand"):
        inspect(tmp_path / "set")


# What vae data says


def test_command_says_where_labels_come_from(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", [f"{number % 12 + 1}/{number}.png" for number in range(24)])
    lines = [line.strip() for line in done("data", folder, "-o", tmp_path / "x.png").splitlines()]
    assert "labels      from the names of folders" in lines
    listed = ", ".join(f"{number} (2)" for number in range(1, 9))
    assert f"classes     {listed}, and 4 more" in lines


def test_empty_files_are_named_as_such(tmp_path: Path, refuse: Refuse) -> None:
    for name in ("a.npy", "a.npz", "a.zip", "a.parquet", "a.txt"):
        (tmp_path / name).touch()
        refuse("data", name, says=(f"{name}: an empty file",))


def test_empty_background(tmp_path: Path, refuse: Refuse) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))
    refuse("data", "a.npy", "--background", "", says=("an empty background: not a color",))
