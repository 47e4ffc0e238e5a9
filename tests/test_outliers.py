"""Reconstruction error and latent distance as scores, and tables of scores in another order."""

import csv
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import vaekit
from tests.commands import Refuse, contents, done, one_line, vae
from tests.test_contracts import make_vae
from tests.test_scoring import floats, folder_of, table
from vaekit.cli.score_commands import By
from vaekit.data import ImageSet
from vaekit.evaluation.latents.encodings import Encodings
from vaekit.evaluation.latents.outliers import LatentGaussian, reconstruction_errors
from vaekit.experiment.score import SCORES, UNITS


def test_reconstruction_error_is_the_root_mean_square_in_gray_levels() -> None:
    model, images = make_vae(shape=(1, 8, 8)), ImageSet(torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8))
    expected = (255 * model.reconstruct(images.pixels).double() - images.pixels).square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(reconstruction_errors(model, images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num", [8, 4000])
def test_latent_distance_counts_standard_deviations(num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means with standard deviations 3 and 0.5, rotated; and as many latents as images, of which most never vary."""
    torch.manual_seed(0)
    dim = 2 if num > 100 else 20
    rotation = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64))[0]
    means = torch.zeros(num, dim, dtype=torch.float64)
    means[:, :2] = torch.randn(num, 2, dtype=torch.float64) * torch.tensor([3.0, 0.5]) @ rotation

    def encoded(model: vaekit.Model, values: torch.Tensor) -> Encodings:
        return Encodings(values, values, values, values, values)

    monkeypatch.setattr("vaekit.evaluation.latents.outliers.encode_images", encoded)
    gaussian = LatentGaussian.of(make_vae(), means)  # type: ignore[arg-type]
    far = torch.zeros(2, dim, dtype=torch.float64)
    far[:, :2] = torch.tensor([[6.0, 0.0], [0.0, 6.0]], dtype=torch.float64) @ rotation
    found = gaussian.distances(make_vae(), far)  # type: ignore[arg-type]
    assert bool(found.isfinite().all())
    assert found[1] > found[0]
    if num > 100:
        torch.testing.assert_close(found, torch.tensor([2.0, 12.0], dtype=torch.float64), rtol=0.05, atol=0.2)


def test_every_score_can_be_asked_for_and_has_a_unit() -> None:
    assert list(get_args(By)) == list(SCORES) == list(UNITS)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be written to."""
    return shutil.copytree(trained, tmp_path / "run")


def test_scores_by_error_and_distance_are_in_the_table(run: Path) -> None:
    done("score", run, "--num-samples", 2, "--by", "reconstruction", "-n", 4)
    found = table(run / "scores.csv")
    folder = vaekit.RunFolder(run)
    images, rows = folder.images(split="all"), torch.tensor([int(row) for row in found["row"]])
    assert floats(found["reconstruction"]).equal(floats(found["reconstruction"]).sort().values)
    torch.testing.assert_close(
        floats(found["reconstruction"]), -reconstruction_errors(folder.model, images)[rows], rtol=1e-6, atol=0
    )
    expected = -LatentGaussian.of(folder.model, folder.images(split="train")).distances(folder.model, images)[rows]
    torch.testing.assert_close(floats(found["latent"]), expected, rtol=1e-6, atol=0)
    assert expected.max() < 0


def test_noise_is_found_by_error(run: Path, tmp_path: Path) -> None:
    noise = folder_of(tmp_path / "noise", [f"{number}.png" for number in range(20)])
    scored = vaekit.score(run, against=str(noise), num_samples=2, max_images=60)
    assert scored.aurocs()["reconstruction"].value > 0.95


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_gets_another_order_without_computing(suffix: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run / f"x{suffix}"
    done("score", run, "--num-samples", 2, "-o", path)
    done("score", run, "--num-samples", 2, "-o", run / f"again{suffix}", "--by", "latent")

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("vaekit.models.VAE.forward", fail)
    monkeypatch.setattr("vaekit.models.VAE.qz", fail)
    out = done("score", run, "--resort", "latent", "-o", path).splitlines()
    assert out[-2:] == [str(path), str(path.with_suffix(".png"))]
    assert out[0].startswith("most unusual by latent: ")
    if suffix == ".csv":
        assert path.read_bytes() == (run / "again.csv").read_bytes()
    else:
        assert pyarrow.parquet.read_table(path).equals(pyarrow.parquet.read_table(run / "again.parquet"))
    sheets = [np.asarray(Image.open(run / name).convert("L")) for name in ("x.png", "again.png")]
    assert np.array_equal(sheets[0][-300:], sheets[1][-300:])  # below the titles, which differ


def test_names_that_a_table_escapes_are_found_again(run: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mine", ["=1+1.png", "b.png", "c.png"])
    done("score", run, folder, "--num-samples", 2, "-o", tmp_path / "x.csv")
    done("score", run, folder, "--resort", "elbo", "-o", tmp_path / "x.csv")
    assert sorted(table(tmp_path / "x.csv")["name"]) == ["'=1+1.png", "b.png", "c.png"]


def test_what_cannot_be_resorted_is_refused(run: Path, refuse: Refuse, tmp_path: Path) -> None:
    refuse("score", run, "--resort", "elbo", says=("scores.csv: no such table",))
    for name, text, says in (
        ("other.csv", "a,b\n1,2\n", "no table of scores"),
        ("empty.csv", "", "no table of scores"),
        ("ragged.csv", "rank,name,data,row,elbo\n1,2\n", "one cell for each column"),
        ("words.csv", "rank,name,data,row,elbo\n1,a,digits,0,high\n", "'high', which is no score"),
        ("nan.csv", "rank,name,data,row,elbo\n1,a,digits,0,nan\n", "'nan', which is no score"),
        ("lacks.csv", "rank,name,data,row,log_px\n1,a,digits,0,1.0\n", "no column elbo (it has log_px)"),
        ("broken.parquet", "no parquet", "not a table that can be read"),
        ("strange.csv", "rank,name,data,row,elbo\n1,a,digits,0,1\n", "a of digits is not among the images"),
        ("far.csv", "rank,name,data,row,elbo\n1,image 9999,digits,9999,1\n", "image 9999 of digits is not among the images"),
        ("long.csv", f"rank,name,data,row,elbo\n1,{'a' * (csv.field_size_limit() + 1)},digits,0,1\n", "field"),
    ):
        (tmp_path / name).write_text(text)
        before = contents(tmp_path)
        one_line(vae("score", run, "--resort", "elbo", "-o", tmp_path / name), name, says)
        assert contents(tmp_path) == before
