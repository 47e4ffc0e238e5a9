"""Images that are objects of Python: tensors, arrays, lists of images or paths, and tables of ``datasets``."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from tests.image_sources import class_by_level, levels, write_images
from tests.test_saved_datasets import table
from vaekit.core.errors import DataError
from vaekit.data import list_cache, load_images

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""

GRAY = np.random.default_rng(0).integers(0, 256, (12, 6, 5), np.uint8)
SCALED = torch.from_numpy(GRAY / 255)


@pytest.fixture(autouse=True)
def silent() -> None:
    datasets.disable_progress_bars()


TENSORS: dict[str, torch.Tensor] = {
    "a gradient": SCALED.clone().requires_grad_(),
    "a result with a gradient": SCALED.clone().requires_grad_() * 1,
    "a parameter": torch.nn.Parameter(SCALED.clone()),
    "float32": SCALED.float(),
    "uint8": torch.from_numpy(GRAY),
    "a view": torch.from_numpy(GRAY.transpose(1, 0, 2).copy()).transpose(0, 1),
    "a negative view": torch._neg_view(-SCALED),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(kind: str) -> None:
    np.testing.assert_array_equal(load_images(TENSORS[kind], "all").pixels[:, 0].numpy(), GRAY)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tensors_of_half_precision(dtype: torch.dtype) -> None:
    pixels = load_images(SCALED.to(dtype), "all").pixels[:, 0]
    np.testing.assert_array_equal(pixels.numpy(), (SCALED.to(dtype).float() * 255).round().byte().numpy())


LISTS: dict[str, list[Any]] = {
    "arrays": list(GRAY),
    "tensors": list(torch.from_numpy(GRAY)),
    "tensors with a gradient": list(SCALED.clone().requires_grad_()),
    "numbers": (GRAY / 255).tolist(),
    "images of Pillow": [Image.fromarray(image) for image in GRAY],
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("container", [list, tuple])
def test_lists(kind: str, container: type) -> None:
    np.testing.assert_array_equal(load_images(container(LISTS[kind]), "all").pixels[:, 0].numpy(), GRAY)


def test_images_of_pillow_of_several_sizes_and_modes_are_fitted() -> None:
    gray = [Image.new("L", (8, 4), 60), Image.new("1", (4, 4), 1), Image.new("LA", (4, 8), (30, 255))]
    assert levels(load_images(gray, "all", size=4)) == [60, 255, 30]
    with pytest.raises(DataError, match=r"images: .*several sizes.*--size"):
        load_images(gray, "all")
    color = [Image.new(mode, (4, 4)) for mode in ("RGB", "CMYK", "P", "RGBA", "YCbCr", "HSV")]
    assert load_images(color, "all").shape == (3, 4, 4)


def test_lists_of_paths(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png", "1.png", "2.png"])
    for paths in ([tmp_path / "2.png", tmp_path / "0.png"], [str(tmp_path / "2.png"), str(tmp_path / "0.png")]):
        images = load_images(paths, "all")
        assert levels(images) == [2, 0]
        assert images.names == (str(tmp_path / "2.png"), str(tmp_path / "0.png"))
    assert len(list_cache()) == 1
    with pytest.raises(DataError, match=r"1 of 2 images cannot be read.*gone.png: .*No such file"):
        load_images([tmp_path / "0.png", tmp_path / "gone.png"])


def test_other_images_of_pillow_are_other_images() -> None:
    for level in (7, 8):
        assert levels(load_images([Image.new("L", (4, 4), level)] * 2, "all")) == [level, level]


REFUSED: dict[str, tuple[Any, str]] = {
    "several shapes": ([GRAY[0], GRAY[1, 1:]], r"array: .*several shapes, \(6, 5\) and \(5, 5\)"),
    "several shapes as objects": (np.array([GRAY[0], GRAY[1, 1:]], object), r"several shapes"),
    "ragged numbers": ([[[1, 2], [3]]], r"array: a list of images of one shape is needed"),
    "an empty list": ([], r"array: holds no images"),
    "words": ([["a", "b"]], r"array: .*holds a list"),
    "dictionaries": ([{"image": GRAY}], r"array: .*holds a dict"),
    "a generator": ((image for image in GRAY), r"not generator"),
    "nothing": (None, r"not NoneType"),
    "a number": (5, r"not int"),
    "bytes": (b"abc", r"not bytes"),
    "a dictionary": ({"train": GRAY}, r"not dict"),
    "a sparse tensor": (SCALED.to_sparse(), r"array: a torch.sparse_coo tensor"),
    "a tensor without values": (torch.empty(3, 4, 4, device="meta"), r"array: a .* tensor"),
    "complex numbers": (SCALED.to(torch.complex64), r"array: .*complex64"),
    "a mix": ([GRAY[0], "a.png"], r"array: .*(str|several)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_objects_are_refused_in_a_line(case: str) -> None:
    images, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as error:
        load_images(images, "all")
    assert len(str(error.value).splitlines()) == 1


# Tables of datasets


def test_a_table_of_datasets() -> None:
    images = load_images(table(3, label=["b", "a", "b", "a"]), "all")
    assert class_by_level(images) == {3: "b", 4: "a", 5: "b", 6: "a"}
    assert images.name == "dataset"


def test_selected_rows_of_a_table_of_datasets() -> None:
    whole = table(0, 6)
    assert levels(load_images(whole.select([4, 1]), "all")) == [4, 1]
    assert levels(load_images(whole.select([1, 4]), "all")) == [1, 4]
    assert levels(load_images(whole.with_format("torch"), "all")) == [0, 1, 2, 3, 4, 5]


def test_tables_of_several_splits() -> None:
    tables = datasets.DatasetDict({"train": table(0), "test": table(8, 2)})
    assert (levels(load_images(tables)), levels(load_images(tables, "test"))) == ([0, 1, 2, 3], [8, 9])


def test_a_table_of_paths_is_read_again_when_a_file_changes(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png", "1.png"])
    paths = {"image": [str(tmp_path / "0.png"), str(tmp_path / "1.png")]}
    tables = datasets.Dataset.from_dict(paths).cast_column("image", datasets.Image())
    assert levels(load_images(tables, "all")) == [0, 1]
    Image.new("L", (4, 4), 99).save(tmp_path / "0.png")
    assert levels(load_images(tables, "all")) == [99, 1]


def test_streams_and_tables_without_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"streamed.*streaming=False"):
        load_images(table(0).to_iterable_dataset())
    with pytest.raises(DataError, match=r"dataset: no images \(columns: text\)"):
        load_images(datasets.Dataset.from_dict({"text": ["a"]}))


def test_training_on_a_list_of_images(tmp_path: Path, no_report: None) -> None:
    images = [Image.fromarray(image) for image in GRAY]
    run = vaekit.train("images", images, out=tmp_path / "run", epochs=1, **{"evaluation.num_samples": 0})
    assert run.environment["images"] == {"train": 10, "valid": 1, "test": 1}
