"""A model folder alone prepares images as its run did: it knows fit, background, levels, binarization and classes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import QUICK, done, vae
from vaekit.core.errors import RunError
from vaekit.data.levels import Levels
from vaekit.data.preprocessing import Preprocessing
from vaekit.models import load_vae, save_vae
from vaekit.models.folder_format import FORMAT
from vaekit.runs.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of 16 bits up to 4,000, twice as wide as high, in three classes."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 4000, (8, 16)).astype(np.uint16)
        (folder / "abc"[number % 3]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "abc"[number % 3] / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    options = {"size": 8, "fit": "pad", "background": "black", "binarize": "dynamic"}
    sets = [part for key, value in options.items() for part in ("--set", f"data.{key}={value}")]
    assert vae("train", "digits", "--data", photos, "--out", folder, *sets, *QUICK).code == 0
    return folder


def bare(run: Path, tmp_path: Path) -> Path:
    """A copy of the model alone."""
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(run / name, tmp_path / "model")
    return tmp_path / "model"


def test_a_bare_model_folder_keeps_preprocessing_and_classes(run: Path, tmp_path: Path) -> None:
    model = RunFolder(bare(run, tmp_path))
    assert not model.has_recipe
    assert model.preprocessing == Preprocessing(
        fit="pad", background="black", levels={"integers": [0, 4095]}, binarize="dynamic", classes=("a", "b", "c")
    )
    assert (model.fitting.fit, model.fitting.background) == ("pad", "black")
    assert model.fitting.levels == Levels(integers=(0.0, 4095.0))
    assert json.loads((run / "config.json").read_text())["preprocessing"]["classes"] == ["a", "b", "c"]


def test_images_of_a_bare_model_folder_are_those_of_its_run(run: Path, photos: Path, tmp_path: Path) -> None:
    mine, theirs = RunFolder(bare(run, tmp_path)).images(str(photos)), RunFolder(run).images()
    assert torch.equal(mine.pixels, theirs.pixels)
    assert (mine.is_binary(), mine.shape) == (True, (1, 8, 8))
    assert mine.class_names == theirs.class_names == ("a", "b", "c")


def test_classes_of_a_bare_model_folder_keep_their_numbers(run: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("b", "c"):
        shutil.copytree(photos / name, tmp_path / "only" / name)
    images = RunFolder(bare(run, tmp_path)).images(str(tmp_path / "only"), "all")
    assert images.class_names == ("a", "b", "c")
    assert images.labels is not None
    assert images.labels.unique().tolist() == [1, 2]


def test_saving_again_keeps_preprocessing(run: Path, tmp_path: Path) -> None:
    save_vae(load_vae(run), tmp_path / "again")
    assert load_vae(tmp_path / "again").preprocessing == load_vae(run).preprocessing
    assert (tmp_path / "again" / "config.json").read_text() == (run / "config.json").read_text()


@pytest.mark.parametrize("version", [2, 3])
def test_a_model_folder_of_an_older_format_is_read(version: int, run: Path, tmp_path: Path) -> None:
    folder = bare(run, tmp_path)
    expected = load_vae(folder).state_dict()
    config = json.loads((folder / "config.json").read_text())
    del config["preprocessing"]
    (folder / "config.json").write_text(json.dumps(config | {"format": version}))
    rehash(folder)
    model = RunFolder(folder)
    assert all(torch.equal(value, expected[key]) for key, value in model.model.state_dict().items())
    assert (model.model.preprocessing, model.preprocessing) == (None, Preprocessing())


def rehash(folder: Path) -> None:
    """Writes the weights anew with the hash of the configuration beside them."""
    from vaekit.core.tensor_files import read_tensors, write_tensors
    from vaekit.models.saving import config_hash

    weights = read_tensors(folder / "model.safetensors")
    write_tensors(folder / "model.safetensors", weights, {"config": config_hash((folder / "config.json").read_text())})


def test_a_newer_format_is_refused(run: Path, tmp_path: Path) -> None:
    folder = bare(run, tmp_path)
    text = (folder / "config.json").read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}')
    (folder / "config.json").write_text(text)
    with pytest.raises(RunError, match="update vaekit"):
        load_vae(folder)


def test_a_run_of_format_3_goes_on(run: Path, photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    del config["preprocessing"]
    (folder / "config.json").write_text(json.dumps(config | {"format": 3}, indent=2) + "\n")
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(environment | {"format": 3}))
    assert RunFolder(folder).environment["format"] == 3
    done("train", "--resume", folder, "--epochs", 2)
    assert RunFolder(folder).environment["format"] == json.loads((folder / "config.json").read_text())["format"] == FORMAT
    assert load_vae(folder).preprocessing == load_vae(run).preprocessing
    assert len(RunFolder(folder).history) == 2
