"""Names of sources: paths, known names, hub ids, configurations and revisions; and ``vae data`` on them."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image

from tests.bad_input import Make
from tests.commands import Refuse, done, tiles, vae
from tests.image_sources import (
    CARD,
    levels,
    write_image,
    write_images,
    write_parquet,
    write_parquet_folders,
    write_repository,
)
from vaekit.core.errors import DataError
from vaekit.data import inspect, list_cache, load_images
from vaekit.data.sources.archives import Archive
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.hub import Hub
from vaekit.data.sources.resolve import resolve

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""


# Names


@pytest.mark.parametrize(
    ("name", "repo", "full_name", "config", "revision"),
    [
        ("user/set", "user/set", "user/set", None, None),
        ("user/set@v2", "user/set", "user/set", None, "v2"),
        ("user/set@refs/convert/parquet", "user/set", "user/set", None, "refs/convert/parquet"),
        ("user/set:plain text", "user/set", "user/set:plain text", "plain text", None),
        ("user/set:small@v2", "user/set", "user/set:small", "small", "v2"),
        ("pokemon", "huggan/pokemon", "pokemon", None, None),
        ("pokemon@v2", "huggan/pokemon", "pokemon", None, "v2"),
        ("mnist:small@refs/pr/3", "ylecun/mnist", "mnist:small", "small", "refs/pr/3"),
    ],
)
def test_names_on_the_hub(name: str, repo: str, full_name: str, config: str | None, revision: str | None) -> None:
    source = resolve(name)
    assert isinstance(source, Hub)
    assert (source.repo, source.name, source.config, source.revision) == (repo, full_name, config, revision)


def test_identities_differ_by_configuration_and_revision() -> None:
    names = ["user/set", "user/set@v2", "user/set:a", "user/set:b", "user/set:a@v2", "user/other", "user/set@main"]
    identities = [json.dumps(resolve(name).identity(), sort_keys=True) for name in names]
    assert len(set(identities)) == 6
    assert identities[0] == identities[-1]
    parts = json.loads(identities[0])
    parts.pop("heif", None)  # where the extra heic is installed
    assert parts == {"hub": "user/set", "revision": "main"}


@pytest.mark.parametrize("kind", [Folder, Archive])
def test_identities_on_disk_differ_by_configuration(kind: type[Folder | Archive], tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "0.png")
    path = tmp_path / "set" if kind is Folder else tmp_path / "set" / "0.png"
    identities = [kind(path, config=config).identity() for config in (None, "a b", "a-b")]
    assert [identity.pop("config", None) for identity in identities] == [None, "a b", "a-b"]
    assert identities[0] == identities[1] == identities[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user/set@", "NAME:CONFIG@REVISION"),
        ("user/set:", "NAME:CONFIG@REVISION"),
        ("user/set:@v2", "NAME:CONFIG@REVISION"),
        ("user/set@v2:small", "user/set@v2:small: .*user/set:small@v2"),
        ("digits@v2", "digits.*package"),
        ("digits:small", "digits.*package"),
        ("mnits@v2", "mnits@v2: .*'mnist'"),
        ("~no-such-user/set", "no-such-user/set: .*path"),
        ("./user/set@v2", "user/set@v2: .*path"),
        ("a/b/c", "a/b/c: .*path"),
        ("x" * 5000, "xxx\\.\\.\\.: .*path"),
        ("nul\0l", r"nul\\x00l: .*path"),
    ],
)
def test_invalid_names(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        resolve(name)


def test_name_on_disk_has_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("user/set:small", "user/set@v2", "digits"):
        write_images(tmp_path / name, ["0.png", "1.png"])
        source = resolve(name)
        assert isinstance(source, Folder)
        assert source.config is None
        assert len(load_images(name, "all")) == 2
    assert isinstance(resolve("./digits"), Folder)
    (tmp_path / "digits" / "0.png").unlink()
    assert isinstance(resolve("mnist"), Hub)


# Configurations and revisions


def test_hub_data_sets_by_configuration_and_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, requests = write_repository(tmp_path / "snapshot"), []

    def download(repo: str, kind: str, revision: str | None) -> Path:
        requests.append((repo, kind, revision))
        return folder

    monkeypatch.setattr("vaekit.data.sources.hub.download", download)
    small, large = load_images("user/set:small", "all"), load_images("user/set:large@v2")
    assert (levels(small), levels(large)) == ([0, 1], [5, 6, 7])
    assert (small.name, large.name) == ("user/set:small", "user/set:large")
    assert levels(load_images("user/set:large@v2", "test")) == [9]
    assert requests == [("user/set", "dataset", None), ("user/set", "dataset", "v2")]
    with pytest.raises(DataError, match=r"^user/set: .*configurations.*small, large.*user/set:small$"):
        load_images("user/set@v2")
    with pytest.raises(DataError, match=r"user/set:smal: .*configuration.*'small'"):
        load_images("user/set:smal@v2")
    with pytest.raises(DataError, match=r"^mnist: .*configurations.*small, large.*mnist:small$"):
        load_images("mnist")
    (folder / "large" / "train" / "bad.png").write_text("no image")
    train, test = inspect("user/set:large")
    assert (train.num, test.num) == (4, 1)
    assert [image.name for image in train.skipped] == ["large/train/bad.png"]  # relative to the repository


def http_error(kind: type[HfHubHTTPError]) -> HfHubHTTPError:
    """An error with a response of the hub."""
    return kind("no", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            LocalEntryNotFoundError("offline"),
            ("huggan/pokemon at revision v9", "VAEKIT_DATA", "pokemon/"),
        ),
        (http_error(RevisionNotFoundError), ("huggan/pokemon: ", "revision v9")),
        (http_error(RepositoryNotFoundError), ("huggan/pokemon: ", "private")),
        (http_error(HfHubHTTPError), ("huggan/pokemon: ", "downloaded (no")),
        (ValueError("two\nlines"), ("huggan/pokemon: ", "downloaded (two lines)")),
    ],
)
def test_hub_errors(error: Exception, says: tuple[str, ...], refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: object) -> Path:
        raise error

    monkeypatch.setattr("vaekit.data.sources.hub.download", download)
    refuse("train", "--data", "pokemon:cards@v9", "--out", "run", says=says)
    assert list_cache() == []


@pytest.mark.parametrize("make", [write_repository, write_parquet_folders])
def test_local_copies_by_configuration(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pokemon")
    expected = {write_repository: ([0, 1], [5, 6, 7], [9]), write_parquet_folders: ([0, 1, 2], [10, 11, 12], [20, 21, 22])}[
        make
    ]
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    for name in ("pokemon", str(tmp_path / "pokemon")):
        assert levels(load_images(f"{name}:small", "all")) == expected[0]
        assert levels(load_images(f"{name}:large")) == expected[1]
        assert levels(load_images(f"{name}:large", "test")) == expected[2]
        for split in ("train", "test"):
            assert load_images(f"{name}:large", split).labels is None  # its folders are splits, not classes
        with pytest.raises(DataError, match=f"^{name}: .*configurations.*{name}:(small|large)$"):
            load_images(name)
        with pytest.raises(DataError, match=r"pokemon:huge: .*configuration.*large, small"):
            load_images(f"{name}:huge")
        for name_with_revision in (f"{name}@v2", f"{name}:small@v2"):
            with pytest.raises(DataError, match=r"pokemon.*@v2: .*revision.*@v2"):
                load_images(name_with_revision)
    assert load_images("pokemon:small", "all").name == "pokemon:small"
    assert len(list_cache()) == 2  # one for each configuration, by either name


def test_default_configuration(tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "set")
    (folder / "README.md").write_text(CARD.replace("data_dir: large", "data_dir: large\n  default: true"))
    assert levels(load_images(folder)) == [5, 6, 7]
    assert levels(load_images(f"{folder}:small", "all")) == [0, 1]
    (folder / "README.md").write_text("---\nlicense: mit\n---\nno configurations\n")
    assert levels(load_images(folder)) == [5, 6, 7, 0, 1]
    with pytest.raises(DataError, match=r"set:small: .*configuration.*none"):
        load_images(f"{folder}:small")


@pytest.mark.parametrize(
    "text", ["---\n[: no yaml\n---\n", "---\n- a\n- b\n---\n", "---\nconfigs: many\n---\n", "", "\0\xff"]
)
def test_invalid_cards_are_ignored(text: str, tmp_path: Path) -> None:
    write_images(tmp_path / "set", ["0.png", "1.png"])
    (tmp_path / "set" / "README.md").write_bytes(text.encode("latin-1"))
    assert levels(load_images(tmp_path / "set", "all")) == [0, 1]


def test_archives_by_configuration(tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    assert isinstance(resolve(f"{tmp_path}/set.zip:small"), Archive)
    assert levels(load_images(f"{tmp_path}/set.zip:small", "all")) == [0, 1]
    assert levels(load_images(f"{tmp_path}/set.zip:large", "test")) == [9]
    with pytest.raises(DataError, match=r"/set\.zip: .*configurations.*small, large.*/set\.zip:small$"):
        load_images(tmp_path / "set.zip")
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"a\.npy: .*configurations.*:small"):
        load_images(f"{tmp_path}/a.npy:small")


def test_folder_of_splits_has_no_configurations(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "train" / "0.parquet", 0)
    write_parquet(tmp_path / "set" / "test" / "0.parquet", 10)
    assert levels(load_images(tmp_path / "set", "test")) == [10, 11, 12]
    write_parquet(tmp_path / "one" / "data" / "train-00000-of-00001.parquet", 0)
    assert levels(load_images(tmp_path / "one", "all")) == [0, 1, 2]


# vae data


def test_command_prints_each_split_and_the_name_of_the_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_repository(tmp_path / "user" / "set")
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path / "user")
    out = done("data", "user/set:large").splitlines()
    assert [line.split(",")[0] for line in out if not line.startswith(" ")][:2] == ["train: 3 images", "test: 1 images"]
    assert out[-2].startswith("opened 4 images in ")
    assert out[-1] == "set-large-sheet.png"
    assert (tmp_path / "user" / "set-large-sheet.png").is_file()


def test_contact_sheet_has_the_background(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for number in range(2):
        Image.new("RGBA", (8, 4), (0, 0, 0, 0)).save(tmp_path / "set" / f"{number}.png")
    done("data", tmp_path / "set", "--background", "#0a141e", "-o", tmp_path / "x.png")
    shown = tiles(tmp_path / "x.png", 2, columns=2, shape=(3, 96, 96))
    assert (shown == np.array([10, 20, 30])[:, None, None]).all()
    outcome = vae("data", tmp_path / "set", "--background", "greenish")
    assert outcome.code == 2
    assert outcome.err.startswith("vae: greenish: not a color")
