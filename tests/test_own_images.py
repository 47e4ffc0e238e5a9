"""Images of one's own as a model reads them: paths, images of Pillow, arrays and tensors."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import Distribution

import vaekit
from tests.commands import QUICK, Refuse, done, vae
from tests.test_contracts import make_vae
from vaekit.core.errors import ConfigError, DataError, ModelError
from vaekit.data import Fitting
from vaekit.data.levels import Levels
from vaekit.data.preparing import prepare_images
from vaekit.models import VAE

GRAY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOR = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.fixture
def model() -> VAE:
    return make_vae(shape=(1, 8, 8))


def prepared(images: Any, shape: tuple[int, int, int] = (1, 8, 8), fitting: Fitting | None = None) -> np.ndarray[Any, Any]:
    x = prepare_images(images, shape, fitting or Fitting())
    assert x.dtype == torch.uint8
    return x.numpy()


def test_every_form_of_one_image_gives_the_same_pixels(model: VAE, tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "mine.png")
    forms = (
        str(tmp_path / "mine.png"),
        tmp_path / "mine.png",
        [tmp_path / "mine.png"],
        Image.fromarray(GRAY),
        GRAY,
        GRAY[..., None],
        GRAY[None],
        GRAY[None, None],
        [GRAY],
        GRAY.astype(np.float32) / 255,
        GRAY.astype(np.uint16) * 257,
        torch.from_numpy(GRAY),
        torch.from_numpy(GRAY)[None],
        torch.from_numpy(GRAY)[None, None],
        np.stack([GRAY] * 3, -1),
    )
    for images in forms:
        x = model.prepare(images)
        assert x.dtype == torch.uint8
        assert np.array_equal(x.numpy(), GRAY[None, None]), type(images)


def test_several_images_of_several_sizes_are_fitted(tmp_path: Path) -> None:
    white, wide = np.full((32, 32), 255, np.uint8), np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = COLOR  # the center, which the crop keeps
    Image.fromarray(white).save(tmp_path / "white.png")
    Image.fromarray(wide).save(tmp_path / "wide.png")
    for images in (
        [white, wide],
        [Image.fromarray(white), Image.fromarray(wide)],
        [tmp_path / "white.png", tmp_path / "wide.png"],
    ):
        x = prepared(images, (3, 8, 8))
        assert (x[0] == 255).all()
        assert np.array_equal(x[1], COLOR.transpose(2, 0, 1))


def test_batches_and_folders(tmp_path: Path) -> None:
    batch = np.stack([COLOR, 255 - COLOR])
    assert np.array_equal(prepared(batch, (3, 8, 8)), batch.transpose(0, 3, 1, 2))
    assert np.array_equal(prepared(torch.from_numpy(batch).permute(0, 3, 1, 2), (3, 8, 8)), batch.transpose(0, 3, 1, 2))
    assert np.array_equal(prepared(batch.transpose(0, 3, 1, 2), (3, 8, 8)), batch.transpose(0, 3, 1, 2))
    assert np.array_equal(prepared(COLOR.transpose(2, 0, 1), (3, 8, 8)), COLOR.transpose(2, 0, 1)[None])
    many = np.stack([GRAY, 255 - GRAY, GRAY, GRAY, GRAY])
    assert np.array_equal(prepared(many)[:, 0], many)
    for number, image in enumerate(batch):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    assert np.array_equal(prepared(tmp_path, (3, 8, 8)), batch.transpose(0, 3, 1, 2))


def test_fit_background_and_levels_are_those_of_the_model() -> None:
    wide = np.zeros((4, 8), np.uint8)
    padded = prepared(wide, fitting=Fitting("pad", "white"))
    assert (padded[0, 0, :2] == 255).all()
    assert (padded[0, 0, 3:5] == 0).all()
    clear = np.zeros((8, 8, 4), np.uint8)
    assert (prepared(clear, fitting=Fitting(background="white")) == 255).all()
    assert (prepared(clear, fitting=Fitting(background="black")) == 0).all()
    deep = np.full((8, 8), 1000, np.uint16)
    assert (prepared(deep, fitting=Fitting(levels=Levels(integers=(0.0, 4000.0)))) == 64).all()
    assert (prepared(np.full((8, 8), 0.5), fitting=Fitting(levels=Levels(floats=(-1.0, 1.0)))) == 191).all()
    masks = Fitting(levels=Levels(uint8=(0.0, 1.0)))
    assert (prepared(np.ones((8, 8), np.uint8), fitting=masks) == 255).all()


def test_images_of_many_channels() -> None:
    bands = np.random.default_rng(0).integers(0, 256, (8, 8, 5), dtype=np.uint8)
    assert np.array_equal(prepared(bands, (5, 8, 8))[0], bands.transpose(2, 0, 1))
    assert prepared(bands, (5, 4, 4)).shape == (1, 5, 4, 4)
    with pytest.raises(DataError, match="channels"):
        prepared(bands[None], (3, 8, 8))


def test_a_model_reads_what_is_no_tensor(model: VAE, tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "mine.png")
    x = torch.from_numpy(GRAY)[None, None]
    for images in (str(tmp_path / "mine.png"), tmp_path / "mine.png", Image.fromarray(GRAY), GRAY):
        assert model.reconstruct(images).equal(model.reconstruct(x))
        assert model.encode(images).mean.equal(model.encode(x).mean)


def test_what_is_no_image_is_refused(model: VAE, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    cases: tuple[tuple[Any, str], ...] = (
        (tmp_path / "none.png", "none.png: no such image"),
        ("nowhere.jpg", "nowhere.jpg: no such image"),
        (tmp_path / "text.png", "text.png: not an image"),
        ([], "the list is empty"),
        ([GRAY, "a.png"], "an image is a path"),
        (3, "an image is a path"),
        (np.zeros((2, 2, 2, 2, 2)), "no image"),
        (np.zeros((0, 8)), "no image"),
        (np.array(["a"]), "no image"),
        (np.full((8, 8), np.nan), "no finite numbers"),
    )
    for images, says in cases:
        with pytest.raises(DataError, match=says):
            model.prepare(images)


def test_a_model_of_other_data_prepares_no_images(oracle_model: vaekit.Model) -> None:
    with pytest.raises(ModelError, match="not of images"):
        oracle_model.prepare(GRAY)


@pytest.fixture
def oracle_model() -> vaekit.Model:
    model = make_vae(shape=(1, 8, 8))
    model.__class__ = type("Tabular", (VAE,), {"shape": property(lambda self: (20,))})
    return model


def test_one_file_as_data_of_commands(trained: Path, tmp_path: Path, refuse: Refuse) -> None:
    Image.fromarray(GRAY).save(tmp_path / "mine.png")
    assert vaekit.load_images(tmp_path / "mine.png").pixels.numpy().tolist() == [[GRAY.tolist()]]
    done("reconstruct", trained, "--data", tmp_path / "mine.png", "-o", tmp_path / "x.png")
    done("reconstruct", trained, tmp_path / "mine.png", "-o", tmp_path / "y.png")
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.width > 8
    done("embed", trained, tmp_path / "mine.png", "-o", tmp_path / "x.csv")
    (row,) = csv.DictReader((tmp_path / "x.csv").read_text().splitlines())
    assert float(row["mean_0"]) == pytest.approx(
        vaekit.load(trained).encode(tmp_path / "mine.png").mean[0, 0].item(), abs=1e-5
    )


def test_a_model_is_saved_and_loaded(model: VAE, trained: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "a" / "mine")
    again = vaekit.load(tmp_path / "a" / "mine")
    assert sorted(path.name for path in (tmp_path / "a" / "mine").iterdir()) == ["config.json", "model.safetensors"]
    assert again.reconstruct(GRAY).equal(model.reconstruct(GRAY))
    run = vaekit.load(trained)
    run.save(str(tmp_path / "mine"))
    assert vaekit.load(tmp_path / "mine").preprocessing == run.preprocessing
    with pytest.raises(ModelError, match=r"a run folder.*choose another"):
        model.save(trained)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file: cannot be written"):
        model.save(tmp_path / "file")


def test_what_a_loaded_model_would_lose_is_not_saved(model: VAE, tmp_path: Path) -> None:
    class Other(VAE):
        def px(self, z: torch.Tensor, context: torch.Tensor | None = None) -> Distribution:
            return super().px(z, context)

    model.__class__ = Other
    with pytest.raises(ConfigError, match="Other has its own px"):
        model.save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_loaded_model_prepares_images_as_in_training(tmp_path: Path, no_report: None) -> None:
    """Sixteen bits: the largest value of the training images decides what is white, and later images keep that scale."""
    deep = np.random.default_rng(0).integers(0, 4000, (40, 8, 8)).astype(np.uint16)
    np.save(tmp_path / "deep.npy", deep)
    train = vae("train", "digits", "--data", tmp_path / "deep.npy", *QUICK, "--fit", "pad", "--out", tmp_path / "run")
    assert "white 4,095" in train.err
    model = vaekit.load(tmp_path / "run")
    x = model.prepare(np.full((4, 8), 2000, np.uint16))
    assert x[0, 0, 3].tolist() == [125] * 8
    assert x[0, 0, 0].tolist() == [255] * 8  # padded with white
