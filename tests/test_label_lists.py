"""Lists and tables of images with the names of their classes: text files, and ``labels.csv`` beside the images."""

from pathlib import Path

import pytest

from tests.commands import done
from tests.image_sources import class_by_level, levels, write_images
from vaekit import train
from vaekit.core.errors import DataError
from vaekit.data import load_images
from vaekit.data.sources.resolve import resolve

pytestmark = pytest.mark.usefixtures("empty_cache")

NAMES = ["0.png", "1.png", "2.png", "3.png"]
CLASSES = {0: "owl", 1: "ant", 2: "owl", 3: "ant"}


def write_set(folder: Path) -> Path:
    """Four images."""
    return write_images(folder / "set", NAMES)


# Lists


@pytest.mark.parametrize("between", [" ", "\t", ",", ", ", "  ", ";"])
def test_lists_of_names_and_labels(between: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    lines = [f"set/{level}.png{between}{label}" for level, label in CLASSES.items()]
    (tmp_path / "list.txt").write_text("# images\n" + "\n".join(lines) + "\n\n")
    assert class_by_level(load_images(tmp_path / "list.txt", "all")) == CLASSES
    assert folder.is_dir()


def test_labels_of_several_words_and_names_with_spaces(tmp_path: Path) -> None:
    write_images(tmp_path, ["a b.png", "c.JPG.png", "d e.png f.png"])
    (tmp_path / "list.txt").write_text("a b.png golden retriever\nc.JPG.png\tx.png is no path\nd e.png f.png great dane\n")
    expected = {0: "golden retriever", 1: "x.png is no path", 2: "great dane"}
    images = load_images(tmp_path / "list.txt", "all")
    assert levels(images) == [0, 1, 2]
    assert class_by_level(images) == expected


def test_a_line_that_is_a_file_has_no_label(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png b.png", "a.png c.png"])
    (tmp_path / "list.txt").write_text("a.png b.png\na.png c.png\n")
    images = load_images(tmp_path / "list.txt", "all")
    assert (levels(images), images.labels) == ([0, 1], None)


def test_numbers_are_classes_as_they_are_written(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES)
    (tmp_path / "list.txt").write_text("".join(f"{name} 00{n % 2}\n" for n, name in enumerate(NAMES)))
    assert load_images(tmp_path / "list.txt", "all").classes == ("000", "001")


def test_a_list_with_some_labels_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, NAMES)
    (tmp_path / "list.txt").write_text("0.png owl\n1.png\n2.png owl\n3.png ant\n")
    assert load_images(tmp_path / "list.txt", "all").labels is None
    assert "1 of 4 images in train have no label in its list" in capsys.readouterr().err


def test_very_many_labels_are_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the 40 attributes of each face in CelebA, which follow its name in a list."""
    write_images(tmp_path, ["0.png"])
    (tmp_path / "list.txt").write_text("".join(f"0.png {number}\n" for number in range(1001)))
    images = load_images(tmp_path / "list.txt", "all")
    assert (len(images), images.labels) == (1001, None)
    assert "1,001 different" in capsys.readouterr().err


def test_a_missing_file_of_a_list_with_labels_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES)
    (tmp_path / "list.txt").write_text("0.png owl\ngone.png ant\n")
    with pytest.raises(DataError, match=r"1 of 2 images cannot be read.* gone.png: .*No such file"):
        load_images(tmp_path / "list.txt", "all")


# Tables beside the images


TABLES = {
    "header": "file,label\n{0}.png,owl\n{1}.png,ant\n{2}.png,owl\n{3}.png,ant\n",
    "no header": "0.png,owl\n1.png,ant\n2.png,owl\n3.png,ant\n",
    "names without suffixes": "id,breed\n0,owl\n1,ant\n2,owl\n3,ant\n",
    "labels first": "class,image\nowl,0.png\nant,1.png\nowl,2.png\nant,3.png\n",
    "more columns": "width,image_id,Category,height\n4,3.png,ant,4\n4,2.png,owl,4\n4,1.png,ant,4\n4,0.png,owl,4\n",
    "semicolons": "file;label\n0.png;owl\n1.png;ant\n2.png;owl\n3.png;ant\n",
    "spaces": "file, label\n0.png, owl\n1.png, ant\n2.png, owl\n3.png, ant\n",
    "quotes": '"file","label"\r\n"0.png","owl"\r\n"1.png","ant"\r\n"2.png","owl"\r\n"3.png","ant"\r\n',
    "mark of Windows": "\ufefffile,label\n0.png,owl\n1.png,ant\n2.png,owl\n3.png,ant\n",
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", ["labels.csv", "Labels.csv", "annotations.csv", "trainLabels.csv"])
def test_tables_of_labels_beside_the_images(kind: str, name: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    (folder / name).write_text(TABLES[kind].format(0, 1, 2, 3) if kind == "header" else TABLES[kind], encoding="utf-8")
    assert class_by_level(load_images(folder, "all")) == CLASSES


@pytest.mark.parametrize("name", ["labels.tsv", "labels.txt"])
def test_other_tables_of_labels(name: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    (folder / name).write_text("".join(f"{level}.png\t{label}\n" for level, label in CLASSES.items()))
    assert class_by_level(load_images(folder, "all")) == CLASSES


def test_labels_of_images_in_folders_and_splits(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["train/a/0.png", "train/b/1.png", "test/a/2.png", "test/b/3.png"])
    rows = ["train/a/0.png,owl", "train/b/1.png,ant", "test/a/2.png,owl", "3,ant"]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))
    train, test = load_images(folder), load_images(folder, "test")
    assert (class_by_level(train), class_by_level(test)) == ({0: "owl", 1: "ant"}, {2: "owl", 3: "ant"})


def test_classes_are_text_as_they_are_written(tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    (folder / "labels.csv").write_text("file,label\n0.png,NA\n1.png,None\n2.png,001\n3.png,1.0\n")
    assert class_by_level(load_images(folder, "all")) == {0: "NA", 1: "None", 2: "001", 3: "1.0"}


def test_rows_and_images_without_a_partner_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path)
    (folder / "labels.csv").write_text("file,label\n0.png,owl\n1.png,ant\n2.png,owl\n8.png,ant\n9.png,ant\n")
    assert load_images(folder, "all").labels is None
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("set")[2] for line in lines] == [
        "/labels.csv: 2 of 5 rows name no image",
        ": 1 of 4 images in train have no label in labels.csv; the split has no labels",
    ]


@pytest.mark.parametrize("text", ["no image", "a,b\n7,8\n", "\x00", '"', "file,a,b\n0.png,1,2\n", "file,label\n"])
def test_a_table_that_labels_nothing_leaves_the_folders_as_classes(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_images(tmp_path / "set", ["a/0.png", "b/1.png"])
    (folder / "labels.csv").write_text(text)
    assert class_by_level(load_images(folder, "all")) == {0: "a", 1: "b"}
    [line] = capsys.readouterr().err.splitlines()
    assert "labels.csv labels none of the images" in line


def test_a_changed_table_is_read_again(tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    for label in ("x", "y"):
        (folder / "labels.csv").write_text(
            "".join(f"{name},{label}{label}{label if label == 'y' else ''}\n" for name in NAMES)
        )
        assert load_images(folder, "all").classes == (label * (2 if label == "x" else 3),)


# Tables and images as sources


def test_a_table_as_a_source(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "some.csv").write_text("label,file\nant,set/3.png\nowl,set/0.png\n")
    images = load_images(tmp_path / "some.csv", "all")
    assert (levels(images), class_by_level(images)) == ([3, 0], {3: "ant", 0: "owl"})
    (tmp_path / "all.tsv").write_text("".join(f"set/{name}\towl\n" for name in NAMES))
    assert levels(load_images(tmp_path / "all.tsv", "all")) == [0, 1, 2, 3]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"other.csv: none of its columns names images"):
        load_images(tmp_path / "other.csv", "all")


def test_one_image_as_a_source(tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    assert done("data", folder / "3.png", "-o", tmp_path / "x.png").startswith(
        "train: 1 images, gray\n  sizes       4x4 (1)"
    )
    images = load_images(folder / "3.png", "all")
    assert (levels(images), images.name) == ([3], "3")
    for split in ("train", "test", "any"):
        assert levels(load_images(folder / "3.png", split)) == [3]
    with pytest.raises(DataError, match=r"3: one image cannot be split into train and validation"):
        train("digits", load_images(folder / "3.png"), test=images)
    assert resolve(folder / "3.png").identity() != resolve(folder / "2.png").identity()
