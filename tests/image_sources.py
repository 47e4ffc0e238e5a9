"""Sources of images that tests write: folders, repositories, parquet files, archives and lists."""

import json
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from tests.bad_input import Make
from vaekit.data import ImageSet


def write_image(path: Path, level: int = 0) -> Path:
    """Writes a small image of one gray level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), level).save(path)
    return path


def write_images(folder: Path, names: list[str]) -> Path:
    """Writes images with these names, whose gray levels are their positions in the list."""
    for level, name in enumerate(names):
        write_image(folder / name, level)
    return folder


def levels(images: ImageSet) -> list[int]:
    """The gray level of each image."""
    return [int(level) for level in images.pixels[:, 0, 0, 0]]


def class_by_level(images: ImageSet) -> dict[int, str] | None:
    """The class of each image, by its gray level; None without labels."""
    if images.labels is None:
        return None
    return {level: images.classes[label] for level, label in zip(levels(images), images.labels.tolist(), strict=True)}


def write_parquet(path: Path, first: int, num: int = 3, **columns: Any) -> Path:
    """Writes a parquet file of images with gray levels from ``first`` on, and columns of (values, feature)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [BytesIO() for _ in range(num)]
    for level, file in enumerate(files):
        Image.new("L", (4, 4), first + level).save(file, "PNG")
    cells = [{"bytes": file.getvalue(), "path": None} for file in files]
    features = datasets.Features({"image": datasets.Image()} | {key: feature for key, (_, feature) in columns.items()})
    data = {"image": cells} | {key: values for key, (values, _) in columns.items()}
    datasets.Dataset.from_dict(data, features).to_parquet(path)
    return path


CARD = """---
configs:
- config_name: small
  data_dir: small
- config_name: large
  data_dir: large
---
# Two sets
"""


def write_repository(folder: Path) -> Path:
    """Writes a hub repository of images with two configurations, one of which has a test split."""
    write_images(folder / "small" / "train", ["0.png", "1.png"])
    for level in (5, 6, 7):
        write_image(folder / "large" / "train" / f"{level}.png", level)
    write_image(folder / "large" / "test" / "9.png", 9)
    (folder / "README.md").write_text(CARD)
    return folder


def write_parquet_folders(folder: Path) -> Path:
    """Writes a repository of parquet files, with a folder for each configuration."""
    write_parquet(folder / "small" / "train-00000-of-00001.parquet", 0)
    write_parquet(folder / "large" / "train-00000-of-00001.parquet", 10)
    write_parquet(folder / "large" / "test-00000-of-00001.parquet", 20)
    return folder


def write_metadata(folder: Path, labels: list[Any], kind: str = "csv", column: str = "label", first: int = 0) -> Path:
    """Writes the labels of the images ``first``.png, ...; an image that is not in the folder is in its subfolder ``in``."""
    names = [
        f"{first + n}.png" if (folder / f"{first + n}.png").exists() else f"in/{first + n}.png" for n in range(len(labels))
    ]
    if kind == "csv":
        lines = [
            f"file_name,{column}",
            *(f"{name},{'' if label is None else label}" for name, label in zip(names, labels, strict=True)),
        ]
    else:
        lines = [json.dumps({"file_name": name, column: label}) for name, label in zip(names, labels, strict=True)]
    (folder / f"metadata.{kind}").write_text("\n".join(lines) + "\n")
    return folder


def zip_of(*names: str, content: bytes = b"") -> Make:
    """A zip of files with these names and this content."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, content)

    return make


def tar_of(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Make:
    """A tar of one member."""

    def make(path: Path) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        with tarfile.open(path, "w") as archive:
            archive.addfile(member)

    return make


def list_of(*names: str) -> Make:
    """A list of these files."""
    return lambda path: path.write_text("\n".join(names) + "\n", encoding="utf-8")
