"""Tables of ``datasets``: folders of ``save_to_disk``, parquet files of plain bytes, and columns of classes."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from tests.commands import Refuse, done
from tests.image_sources import class_by_level, levels, write_images
from vaekit.core.errors import DataError
from vaekit.data import load_images

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""


@pytest.fixture(autouse=True)
def silent() -> None:
    datasets.disable_progress_bars()


def png(level: int) -> bytes:
    """An encoded image of one gray level."""
    file = BytesIO()
    Image.new("L", (4, 4), level).save(file, "PNG")
    return file.getvalue()


def table(first: int, num: int = 4, **columns: Any) -> datasets.Dataset:
    """A table of images with gray levels from ``first`` on."""
    images = [{"bytes": png(level), "path": None} for level in range(first, first + num)]
    return datasets.Dataset.from_dict({"image": images} | columns).cast_column("image", datasets.Image())


# Saved data sets


def test_a_saved_data_set(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["cat", "dog"])
    table(3, label=[0, 1, 1, 0]).cast_column("label", names).save_to_disk(tmp_path / "saved")
    images = load_images(tmp_path / "saved", "all")
    assert class_by_level(images) == {3: "cat", 4: "dog", 5: "dog", 6: "cat"}
    assert images.name == "saved"
    assert done("data", tmp_path / "saved", "-o", tmp_path / "x.png").startswith("train: 4 images, gray\n")


def test_saved_data_sets_of_several_splits(tmp_path: Path) -> None:
    """``load_dataset`` reads such a folder as one row for each split, without an error."""
    datasets.DatasetDict({"train": table(0), "test": table(7, 2)}).save_to_disk(tmp_path / "saved")
    assert levels(load_images(tmp_path / "saved")) == [0, 1, 2, 3]
    assert levels(load_images(tmp_path / "saved", "test")) == [7, 8]


def test_files_of_an_earlier_and_larger_save_are_not_read(tmp_path: Path) -> None:
    table(0).save_to_disk(tmp_path / "saved", num_shards=2)
    for file in (tmp_path / "saved").glob("*.arrow"):
        file.rename(file.with_name(f"old-{file.name}"))
    table(5, 6).save_to_disk(tmp_path / "saved", num_shards=3)
    assert levels(load_images(tmp_path / "saved", "all")) == [5, 6, 7, 8, 9, 10]


def test_selected_rows_are_saved_as_they_were_selected(tmp_path: Path) -> None:
    table(0, 6).select([5, 0, 3]).save_to_disk(tmp_path / "saved")
    assert levels(load_images(tmp_path / "saved", "all")) == [5, 0, 3]


def test_a_saved_data_set_in_the_folder_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(2).save_to_disk(tmp_path / "mine")
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    assert levels(load_images("mine", "all")) == [2, 3, 4, 5]


def change_state(folder: Path, **values: Any) -> None:
    """Changes what a saved data set states."""
    path = folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def compress(path: Path) -> None:
    """Writes an Arrow file anew, compressed."""
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        read = stream.read_all()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with path.open("wb") as file, pa.ipc.new_stream(file, read.schema, options=options) as writer:
        writer.write_table(read)


def corrupt(path: Path) -> None:
    """Makes the offsets of an Arrow file point far outside of it."""
    content = bytearray(path.read_bytes())
    start = content.index(png(0))
    lengths = [len(png(level)) for level in range(4)]
    offsets = b"".join(sum(lengths[:n]).to_bytes(4, "little") for n in range(5))
    place = content.rindex(offsets, 0, start)
    content[place + 12 : place + 16] = (2**31 - 9).to_bytes(4, "little")
    path.write_bytes(content)


def test_damaged_and_hostile_saved_data_sets_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    arrow = folder / "data-00000-of-00001.arrow"
    cases: dict[str, Any] = {
        r"lists '\.\./x\.arrow'": lambda: change_state(folder, _data_files=[{"filename": "../x.arrow"}]),
        r"lists '/etc/passwd'": lambda: change_state(folder, _data_files=[{"filename": "/etc/passwd"}]),
        r"lists 'None'": lambda: change_state(folder, _data_files=["a.arrow"]),
        r"no list _data_files": lambda: change_state(folder, _data_files=7),
        r"lists no files": lambda: change_state(folder, _data_files=[]),
        r"old version": lambda: change_state(folder, _indices_data_files=[{"filename": "indices.arrow"}]),
        r"state\.json: cannot be read": lambda: (folder / "state.json").write_text("{"),
        r"state\.json: cannot be read .*nested": lambda: (folder / "state.json").write_text("[" * 9999),
        r"00001\.arrow: .*safely": lambda: arrow.write_bytes(arrow.read_bytes()[:-300]),
        r"00001\.arrow: .*safely .*compressed": lambda: compress(arrow),
        r"00001\.arrow: .*not a regular file": lambda: (arrow.unlink(), arrow.symlink_to("gone")),
        r"00001\.arrow: cannot be read safely \(": lambda: corrupt(arrow),
    }
    for number, (message, damage) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        arrow = folder / "data-00000-of-00001.arrow"
        table(0).save_to_disk(folder)
        damage()
        with pytest.raises(DataError, match=message) as error:
            load_images(folder, "all")
        assert len(str(error.value).splitlines()) == 1


def test_splits_elsewhere_and_configurations_are_refused(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": table(0)}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"saved: .*no configurations"):
        load_images(f"{tmp_path}/saved:train")
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["../saved/train"]}')
    with pytest.raises(DataError, match=r"dataset_dict.json: lists '\.\./saved/train'"):
        load_images(tmp_path / "saved")


# Plain bytes


COLUMNS = {
    "bytes": pa.array([png(level) for level in range(4)]),
    "large bytes": pa.array([png(level) for level in range(4)], pa.large_binary()),
    "bytes and path": pa.array([{"bytes": png(level), "path": f"{level}.png"} for level in range(4)]),
    "bytes alone": pa.array([{"bytes": png(level)} for level in range(4)]),
    "one damaged": pa.array([b"damaged", *(png(level) for level in range(40))]),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("key", ["image", "img", "jpg", "content", "anything"])
def test_parquet_files_of_plain_bytes(kind: str, key: str, tmp_path: Path) -> None:
    column = COLUMNS[kind]
    columns = {
        "mask": pa.array([b"no image"] * len(column)),
        key: column,
        "label": pa.array([n % 2 for n in range(len(column))]),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    images = load_images(tmp_path / "a.parquet", "all", size=4)
    expected = list(range(4)) if kind != "one damaged" else list(range(40))
    assert levels(images) == expected
    assert images.labels is not None
    assert images.labels.tolist() == [n % 2 for n in range(len(column))][len(column) - len(expected) :]


def test_of_several_columns_of_bytes_the_one_called_image_is_read(tmp_path: Path) -> None:
    columns = {key: pa.array([png(first + n) for n in range(3)]) for key, first in (("depth", 50), ("image", 10))}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert levels(load_images(tmp_path / "a.parquet", "all")) == [10, 11, 12]


def test_bytes_that_are_no_images_are_refused(tmp_path: Path, refuse: Refuse) -> None:
    parquet.write_table(pa.table({"image": pa.array([b"one", b"two"])}), tmp_path / "a.parquet")
    refuse("data", "a.parquet", says=("a.parquet: no images (columns: image)",))


# Columns of classes


@pytest.mark.parametrize("key", ["label", "labels", "category", "Category", "class", "class_name", "target"])
def test_columns_of_classes(key: str, tmp_path: Path) -> None:
    table(1, **{"id": [9, 8, 7, 6], key: ["b", "a", "b", "a"]}).to_parquet(tmp_path / "a.parquet")
    assert class_by_level(load_images(tmp_path / "a.parquet", "all")) == {1: "b", 2: "a", 3: "b", 4: "a"}


def test_a_column_that_is_called_label_comes_first(tmp_path: Path) -> None:
    table(1, category=["x", "y", "x", "y"], label=["b", "a", "b", "a"]).to_parquet(tmp_path / "a.parquet")
    assert load_images(tmp_path / "a.parquet", "all").classes == ("a", "b")


def test_category_in_metadata(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["0.png", "1.png"])
    (folder / "metadata.csv").write_text("file_name,category\n0.png,owl\n1.png,ant\n")
    assert class_by_level(load_images(folder, "all")) == {0: "owl", 1: "ant"}
