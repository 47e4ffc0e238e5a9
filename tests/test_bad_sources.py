"""Sources that cannot be read: damaged and malicious archives, broken links, and missing permissions."""

import ctypes
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from tests.bad_input import Make
from tests.commands import Refuse
from tests.image_sources import (
    levels,
    list_of,
    tar_of,
    write_image,
    write_images,
    write_parquet,
    write_parquet_folders,
    zip_of,
)
from vaekit.data import list_cache, load_images

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""


# Sources that cannot be used


def locked_zip(path: Path) -> None:
    """A zip whose image is marked as encrypted."""
    zip_of("a.png", content=b"secret")(path)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)


def huge_zip(path: Path) -> None:
    """A zip of a few bytes whose header states a petabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1000))
        archive.filelist[0].file_size = 2**50


def huge_tar(path: Path) -> None:
    """A tar of a few bytes whose header states a petabyte."""
    member = tarfile.TarInfo("a.png")
    member.size = 2**50
    with tarfile.open(path, "w") as archive:
        archive.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))


def linking_zip(path: Path) -> None:
    """A zip with a link to an image outside of it, which is unpacked as a text file."""
    member = zipfile.ZipInfo("link.png")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "../../../outside.png")


def parquet_without_images(path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"], "number": [1, 2]}).to_parquet(path)


def truncated_parquet(path: Path) -> None:
    write_parquet(path, 0, num=20)
    path.write_bytes(path.read_bytes()[:-40])


def folder_of(*links: tuple[str, str]) -> Make:
    """A folder of links."""

    def make(path: Path) -> None:
        path.mkdir()
        for name, target in links:
            (path / name).symlink_to(target)

    return make


BAD_SOURCES: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "one image": ("pics", lambda path: write_image(path / "a.png"), ("pics: one image", "split")),
    "folder of hidden files": ("pics", lambda path: write_image(path / ".a.png"), ("pics: no images",)),
    "folder in itself": (
        "pics",
        folder_of(("loop", "."), ("up", ".."), ("self", "self")),
        ("pics: no images",),
    ),
    "links to nothing": (
        "pics",
        folder_of(("a.png", "gone.png"), ("b.png", "b.png")),
        ("pics: 2 of 2 images", "a.png: ", "No such file", "b.png", "Too many levels"),
    ),
    "empty zip": ("pics.zip", zip_of(), ("pics.zip: no images",)),
    "zip with an absolute path": ("pics.zip", zip_of("/tmp/evil.png"), ("pics.zip", "/tmp/evil.png", "outside")),
    "zip with a relative path out of it": ("pics.zip", zip_of("a/../../evil.png"), ("pics.zip", "evil.png", "outside")),
    "zip with a link out of it": ("pics.zip", linking_zip, ("pics: 1 of 1 images", "link.png")),
    "encrypted zip": ("pics.zip", locked_zip, ("pics.zip", "encrypted")),
    "zip that states a petabyte": ("pics.zip", huge_zip, ("pics.zip", "1,125,899.9 GB", "free")),
    "tar that states a petabyte": ("pics.tar", huge_tar, ("pics.tar", "1,125,899.9 GB", "free")),
    "tar with a link out of it": (
        "pics.tar",
        tar_of("a.png", tarfile.SYMTYPE, "../../x.png"),
        ("pics.tar", "outside"),
    ),
    "tar with a link to an absolute path": (
        "pics.tar",
        tar_of("a.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("pics.tar", "absolute path"),
    ),
    "tar with a hard link out": (
        "pics.tar",
        tar_of("a.png", tarfile.LNKTYPE, "../../x.png"),
        ("pics.tar", "outside"),
    ),
    "tar with a device": ("pics.tar", tar_of("a.png", tarfile.CHRTYPE), ("pics.tar", "special file")),
    "list of a folder": ("list.txt", list_of("folder", "."), ("list: 2 of 2 images", "a folder")),
    "list of invalid names": ("list.txt", list_of("x" * 5000, "a\0b"), ("list: 2 of 2 images", "too long")),
    "list of a device": ("list.txt", list_of("/dev/zero"), ("/dev/zero: ", "not a file")),
    "parquet without images": (
        "a.parquet",
        parquet_without_images,
        ("a.parquet: no images", "text, number"),
    ),
    "truncated parquet": ("a.parquet", truncated_parquet, ("a.parquet: ", "safely")),
    "several configurations": (
        "pics",
        write_parquet_folders,
        ("pics: ", "configurations", "large, small", "pics:large"),
    ),
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_source_that_cannot_be_used(case: str, refuse: Refuse, tmp_path: Path) -> None:
    name, make, says = BAD_SOURCES[case]
    (tmp_path / "folder").mkdir()
    make(tmp_path / name)
    refuse("train", "--data", name, "--out", "run", says=says)
    assert case == "one image" or list_cache() == []  # a single image is decoded before it is refused
    if case not in ("one image", "links to nothing", "zip with a link out of it") and not name.startswith("list"):
        refuse("data", name, says=says)


def test_tar_with_an_absolute_path_is_unpacked_inside(tmp_path: Path) -> None:
    """The leading slash is removed, as by tar itself."""
    target, file = tmp_path / "outside" / "a.png", write_image(tmp_path / "a.png", 9)
    with tarfile.open(tmp_path / "pics.tar", "w") as archive:
        member = archive.gettarinfo(file)
        member.name = str(target)
        with file.open("rb") as content:
            archive.addfile(member, content)
    assert levels(load_images(tmp_path / "pics.tar", "all")) == [9]
    assert not target.parent.exists()


def test_list_with_some_unreadable_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number:02}.png" for number in range(50)]
    write_images(tmp_path, names)
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.txt").write_text("\n".join([*names, "folder", "missing.png"]))
    assert levels(load_images(tmp_path / "list.txt", "all")) == list(range(50))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("list: 2 of 52 images left out; ")
    assert "folder: not an image that can be read (a folder)" in line
    assert "missing.png: " in line


# Permissions


RUN_COMMANDS = """
import json, sys
from dataclasses import asdict
from tests.commands import vae
for command in json.loads(sys.argv[1]):
    print(json.dumps(asdict(vae(*command))))
"""


def drop_root_privileges() -> None:
    """Makes a process of root subject to file permissions, by dropping the capabilities to ignore them."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "a capability cannot be dropped")


def run_unprivileged(folder: Path, *commands: tuple[object, ...]) -> list[dict[str, Any]]:
    """Runs commands in a process that is subject to file permissions, and returns their outcomes."""
    text = json.dumps([[str(word) for word in command] for command in commands])
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", RUN_COMMANDS, text]
    outcome = subprocess.run(
        command, preexec_fn=drop_root_privileges, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in outcome.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root can drop its capabilities on Linux only")
def test_missing_permissions(tmp_path: Path) -> None:
    write_images(tmp_path / "open", [f"{number:02}.png" for number in range(40)])
    write_images(tmp_path / "part", ["a/0.png", "b/1.png", "c/2.png"])
    write_images(tmp_path / "shut", ["0.png"])
    write_images(tmp_path / "listed", ["0.png", "1.png"])
    zip_of("a.png")(tmp_path / "a.zip")
    tar_of("a.png")(tmp_path / "a.tar")
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))
    write_parquet(tmp_path / "a.parquet", 0)
    list_of("open/00.png")(tmp_path / "list.txt")
    files = ["a.zip", "a.tar", "a.npy", "a.parquet", "list.txt"]
    try:
        for name in ("open/07.png", "part/b", "shut", *files):
            (tmp_path / name).chmod(0)
        (tmp_path / "listed").chmod(0o444)
        commands = [
            ("data", name, "-o", "x.png") for name in ("open", "part", "shut", "shut/0.png", "shut/in", "listed", *files)
        ]
        outcomes = run_unprivileged(tmp_path, *commands)
    finally:
        for name in ("open/07.png", "part/b", "shut", "listed", *files):
            (tmp_path / name).chmod(0o755)
    some, part, shut, file, inside, listed, *rest = outcomes
    assert (some["code"], some["err"]) == (0, "")
    assert "07.png: not an image that can be read (Permission denied)" in some["out"]
    assert "unreadable  1" in some["out"]
    assert (part["code"], part["err"]) == (0, "part: part/b cannot be read and is left out\n")
    assert "train: 2 images" in part["out"]
    for name, outcome in (("shut", shut), ("shut/0.png", file), ("shut/in", inside)):
        assert outcome["err"].startswith(f"vae: {name}: ")
        assert "(Permission denied)" in outcome["err"]
    assert (listed["code"], listed["err"]) == (0, "")
    assert "unreadable  2" in listed["out"]
    for name, outcome in zip(files, rest, strict=True):
        assert outcome["err"].startswith(f"vae: {name}: ")
        assert "ermission" in outcome["err"]
    for outcome in (shut, file, inside, *rest):
        assert (outcome["code"], outcome["out"], outcome["err"].count("\n")) == (2, "", 1)
    assert list_cache() == []
