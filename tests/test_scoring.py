"""Scores of single images and their codes: estimators in closed form, and the files that the commands write."""

import csv
import io
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from torch import Tensor

from tests.commands import SHAPE, Refuse, contents, done, one_line, vae
from tests.oracles import LinearGaussian, linear_gaussian
from tests.test_contracts import make_vae
from vaekit.core.errors import ConfigError
from vaekit.core.rounding import with_error
from vaekit.data import ImageSet, load_images
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.evaluation.likelihood.bounds import log_likelihood_of_each
from vaekit.evaluation.likelihood.scores import (
    Scores,
    auroc,
    code_lengths,
    dominated_line,
    effective_samples,
    scores,
    summarize_weights,
)
from vaekit.experiment.score import ScoredImages, ScoredSet
from vaekit.models import VAE, load_vae, save_vae
from vaekit.runs.run_folder import RunFolder

NUMBERS = (
    *("log_px", "standard_error", "effective_samples", "elbo", "variance", "complexity"),
    *("ratio", "waic", "typicality", "reconstruction", "latent"),
)


def imaged(num: int = 60, off: float = 0.0) -> tuple[LinearGaussian, ImageSet]:
    """A linear-Gaussian model, and images of it in gray levels."""
    oracle = linear_gaussian(num=num, off=off)
    levels = ((oracle.x - oracle.x.min()) / (oracle.x.max() - oracle.x.min()) * 255).round().byte()
    oracle.x.copy_(levels.float() / 255)
    return oracle, ImageSet(levels)


def table(path: Path) -> dict[str, list[str]]:
    """The columns of a CSV file."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    return {key: [row[key] for row in rows] for key in rows[0]}


def floats(column: Sequence[str]) -> Tensor:
    return torch.tensor([float(cell) for cell in column], dtype=torch.float64)


def folder_of(path: Path, names: Sequence[str], seed: int = 0) -> Path:
    """Images of noise in files."""
    noise = np.random.default_rng(seed)
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, SHAPE[1:], dtype=np.uint8)).save(path / name)
    return path


# Estimators.


def test_exact_posterior_gives_the_evidence_without_error() -> None:
    oracle, images = imaged()
    found, evidence = scores(oracle.model, images, num_samples=4), oracle.log_evidence().double()
    torch.testing.assert_close(found.log_px, evidence, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.elbo, evidence, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.waic, evidence, atol=1e-4, rtol=0)
    assert found.standard_error.max() < 1e-4


def test_elbo_and_variance_equal_their_closed_forms() -> None:
    oracle, images = imaged(off=0.3)
    found = scores(oracle.model, images, num_samples=20_000)
    q = oracle.model.encode(oracle.x)
    exact = 1 / (1 + (oracle.weight**2).sum(0) / oracle.scale**2)  # the true posterior's variance
    mean = (oracle.x.flatten(1) - oracle.bias) @ oracle.weight * exact / oracle.scale**2
    square, line = 0.5 - q.variance / (2 * exact), (q.mean - mean) * q.stddev / exact  # log w = square e^2 - line e + ...
    variance = (2 * square**2 + line**2).sum(1).double()
    torch.testing.assert_close(found.variance, variance, rtol=0.06, atol=0)
    closed = oracle.elbo(q.mean, q.stddev[0], oracle.weight).double()
    assert ((found.elbo - closed).abs() / (variance / 20_000).sqrt()).max() < 5
    assert (found.log_px - oracle.log_evidence()).abs().max() < 0.05
    assert found.log_px.allclose(log_likelihood_of_each(oracle.model, images, num_samples=20_000).double(), atol=1e-4)


def test_standard_error_is_the_spread_over_seeds() -> None:
    oracle, images = imaged(off=0.15)
    draws = [scores(oracle.model, images, num_samples=200, seed=seed) for seed in range(100)]
    spread = torch.stack([draw.log_px for draw in draws]).std(0)
    stated = torch.stack([draw.standard_error for draw in draws]).square().mean(0).sqrt()
    ratio = (stated / spread).log()  # the error of a standard deviation over 100 draws is 7%
    assert ratio.abs().max() < 5 * 0.071
    assert abs(ratio.mean()) < 0.04
    assert stated.min() > 0.005


def test_weights_are_summarized_without_overflow() -> None:
    rows = [[-900.0, 900.0, 0.0], [-900.0, 900.0 + math.log(3), -200.0]]
    log_px, error, elbo, variance = summarize_weights(torch.tensor(rows, dtype=torch.float64))
    assert log_px.tolist() == pytest.approx([-900, 900 + math.log(2), -math.log(2)])
    assert error.tolist() == pytest.approx([0, 0.5, 1], abs=1e-9)  # of equal ones, of 1 and 3, of one alone
    assert elbo.tolist() == pytest.approx([-900, 900 + math.log(3) / 2, -100])
    assert variance.tolist() == pytest.approx([0, math.log(3) ** 2 / 2, 20_000], abs=1e-4)


def test_scores_depend_only_on_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle, images = imaged(num=130, off=0.3)
    whole, part = (scores(oracle.model, some, num_samples=70) for some in (images, images.first(7)))
    torch.testing.assert_close(whole.log_px[:7], part.log_px, atol=1e-4, rtol=0)
    monkeypatch.setattr(VAE, "chunk_size", 7 * 30)  # samples come 30, 30 and 10 at a time
    chunked = scores(oracle.model, images.first(7), num_samples=70)
    torch.testing.assert_close(chunked.log_px, part.log_px, atol=1e-4, rtol=0)
    before = torch.get_rng_state()
    other = scores(oracle.model, images.first(7), num_samples=70, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(other.log_px, part.log_px)


def test_code_length_is_the_size_of_the_file() -> None:
    torch.manual_seed(0)
    noise = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    sparse = torch.from_numpy(np.random.default_rng(0).random((1, 64, 64)) < 0.1).byte() * 255  # smaller if Pillow is asked
    for pixels in (noise, noise[:1], torch.zeros_like(noise), sparse):
        found = code_lengths(pixels.unsqueeze(0)).item() / (8 * math.log(2))
        file = io.BytesIO()
        array = pixels.permute(1, 2, 0).numpy()
        Image.fromarray(array if len(pixels) == 3 else array[:, :, 0]).save(file, "png", optimize=True)
        assert found == pytest.approx(len(file.getvalue()))
    dark, gray, color = code_lengths(torch.stack([torch.zeros_like(noise), noise[:1].expand(3, -1, -1), noise]))
    assert dark < gray < color
    assert color > 3 * 256 * 8 * math.log(2)  # noise cannot be compressed


def test_corrections_equal_their_formulas() -> None:
    found = Scores(*torch.tensor([[-10.0, -20.0], [0.1, 0.2], [-12.0, -25.0], [3.0, 4.0], [7.0, 30.0]]).double())
    assert found.ratio.tolist() == [-3, 10]  # the simple image of the higher likelihood is more unusual
    assert found.waic.tolist() == [-15, -29]
    assert found.typicality(-18).tolist() == [-8, -2]


def test_auroc_of_two_gaussians() -> None:
    torch.manual_seed(0)
    closed = norm.cdf(1 / math.sqrt(2))
    found = [auroc(torch.randn(150) + 1, torch.randn(250)) for _ in range(300)]
    values = np.array([one.value for one in found])
    errors = np.array([one.standard_error for one in found])
    assert abs(values.mean() - closed) < 5 * values.std() / math.sqrt(300)
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.15)


def test_auroc_counts_ties_by_half_as_scikit_learn() -> None:
    torch.manual_seed(0)
    own, other = torch.randint(8, (70,)).double(), torch.randint(6, (40,)).double()
    expected = roc_auc_score([1] * 70 + [0] * 40, torch.cat([own, other]))
    assert auroc(own, other).value == pytest.approx(expected)
    assert auroc(other, own).value == pytest.approx(1 - expected)
    assert auroc(own, own + 100).value == 0
    below, above = (own[:, None] > other).double() + (own[:, None] == other) / 2, 70 * 40
    by_hand = below.mean(1).var() / 70 + below.mean(0).var() / 40
    assert auroc(own, other).standard_error == pytest.approx(float(by_hand) ** 0.5)
    assert auroc(own, other).num_images == 110 < above


def test_most_unusual_images_of_several_sets() -> None:
    pixels = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 2, 2).contiguous()
    values = torch.tensor([3.0, 1.0, 0.0, 2.0, -1.0]).double()
    names = [("a", slice(0, 2)), ("b", slice(2, 5))]
    sets = [
        ScoredSet(ImageSet(pixels[part], name=name), torch.arange(part.start, part.stop), Scores(*[values[part]] * 5), "")
        for name, part in names
    ]
    scored = ScoredImages(sets, "log_px")
    assert scored.order.tolist() == [4, 2, 1, 3, 0]
    most = scored.most_unusual(4)
    assert most.images[:, 0, 0, 0].tolist() == [4, 2, 1, 3]
    assert most.captions == ["-1.0 b", "0.0 b", "1.0 a", "2.0 b"]
    assert most.names == ["image 4", "image 2", "image 1", "image 3"]
    columns = scored.columns()
    assert columns["data"] == ["b", "b", "a", "b", "a"]
    assert columns["name"] == [f"image {row}" for row in columns["row"]]
    assert columns["row"] == [4, 2, 1, 3, 0]


def test_too_few_samples_for_a_standard_error() -> None:
    oracle, images = imaged(num=2)
    with pytest.raises(ConfigError, match=r"num_samples.*at least 2"):
        scores(oracle.model, images, num_samples=1)
    with pytest.raises(ConfigError, match=r"AUROC.*2 images"):
        auroc(torch.zeros(2), torch.zeros(1))


# Commands.


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be written to."""
    return shutil.copytree(trained, tmp_path / "run")


def test_score_writes_the_lowest_score_first(run: Path) -> None:
    done("score", run, "--num-samples", 5, "-n", 10, "--by", "log_px", "--split", "test", "-o", run / "scores.parquet")
    out = done("score", run, "--num-samples", 5, "-n", 10, "--by", "log_px", "--split", "test", "-o", run / "scores.csv")
    found, exact = table(run / "scores.csv"), pyarrow.parquet.read_table(run / "scores.parquet").to_pydict()
    lines = [line for line in out.splitlines() if "of 359 images one of the 5 samples of z has most" not in line]
    assert lines[:3] == [
        "359 test images of digits; 1,438 others: --split all",
        "  log-density of pixels scaled to [0, 1], support: real line; it may be positive",
        "most unusual by log_px: log p(x), in nats",
    ]
    assert [line.split() for line in lines[3:8]] == [
        [f"{float(value):,.1f}", *name.split()] for value, name in zip(found["log_px"][:5], found["name"][:5], strict=True)
    ]
    assert lines[8].endswith("--resort ratio shows another order")
    assert lines[9:] == [str(run / "scores.csv"), str(run / "scores.png")]
    assert list(found) == list(exact) == ["rank", "name", "data", "row", "split", "label", "class", *NUMBERS]
    for name in NUMBERS:  # seven significant digits for people, all of them for programs
        assert floats(found[name]).tolist() == [float(f"{value:.7g}") for value in exact[name]], name
    assert set(found["split"]) == {"test"}
    assert found["rank"] == [str(rank) for rank in range(1, 360)]
    assert floats(found["log_px"]).equal(floats(found["log_px"]).sort().values)
    images = RunFolder(run).images()
    assert images.labels is not None
    rows = torch.tensor([int(row) for row in found["row"]])
    assert rows.sort().values.equal(torch.arange(359))
    assert found["name"] == [f"image {row}" for row in rows.tolist()]
    assert found["label"] == found["class"] == [str(label) for label in images.labels[rows].tolist()]
    expected = scores(RunFolder(run).model, images, num_samples=5)
    for name in NUMBERS[:-3]:
        assert exact[name] == getattr(expected, name)[rows].tolist(), name
    train = RunFolder(run).images(split="train")
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:200].sort().values
    center = float(scores(RunFolder(run).model, train.take(chosen), num_samples=5).log_px.mean())
    expected_distances = -(torch.tensor(exact["log_px"], dtype=torch.float64) - center).abs()
    torch.testing.assert_close(torch.tensor(exact["typicality"], dtype=torch.float64), expected_distances)
    with Image.open(run / "scores.png") as sheet:
        pixels = np.asarray(sheet)
    lowest = images.pixels[rows[0], 0].numpy()  # the middles of its 17 x 17 pixels keep their value
    assert any(np.array_equal(pixels[top + 8 : top + 136 : 17, 18 : 18 + 136 : 17], lowest) for top in range(120))


def test_score_orders_by_the_chosen_score(run: Path, tmp_path: Path) -> None:
    done("score", run, "--num-samples", 2, "--max-images", 50, "--by", "ratio", "-o", tmp_path / "x.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict()
    assert found["rank"] == list(range(1, 51))
    assert found["ratio"] == sorted(found["ratio"]) != found["log_px"]
    assert sorted(found["log_px"]) != found["log_px"]
    assert len(set(found["row"])) == 50
    images = RunFolder(run).images(split="all")
    assert images.labels is not None
    assert found["label"] == images.labels[torch.tensor(found["row"])].tolist()


def test_score_never_calls_a_cross_entropy_a_likelihood(tmp_path: Path) -> None:
    model = make_vae(shape=(1, 8, 8))
    save_vae(model, tmp_path / "model")
    options = ("--num-samples", 2, "--max-images", 5, "-o", tmp_path / "x.csv")
    out = vae("score", tmp_path / "model", "digits", *options).out
    assert out.startswith("5 images of digits\n  cross-entropy, not a likelihood (the pixels are gray)\n")
    assert "likelihood" not in out.replace("not a likelihood", "")


def test_auroc_of_single_images_is_refused(run: Path, refuse: Refuse, tmp_path: Path) -> None:
    one, more = (folder_of(tmp_path / str(num), [f"{number:02}.png" for number in range(num)]) for num in (1, 30))
    refuse("score", run, "--against", one, says=("1: ", "AUROC", "two images"))
    refuse("score", run, "--against", more, "--max-images", 1, says=("digits: ", "AUROC", "two images"))


def test_against_prints_the_auroc_of_each_score(run: Path, tmp_path: Path) -> None:
    noise = folder_of(tmp_path / "noise", [f"{number:02}.png" for number in range(30)])
    options = ("--num-samples", 3, "--max-images", 40)
    out = done("score", run, "--against", noise, *options, "-o", tmp_path / "x.csv")
    found = table(tmp_path / "x.csv")
    own = torch.tensor([name == "digits" for name in found["data"]])
    assert (int(own.sum()), int((~own).sum())) == (40, 30)
    lines = [line.split() for line in out.splitlines() if " ± " in line]
    assert [line[0] for line in lines] == ["log_px", "elbo", "ratio", "waic", "typicality", "reconstruction", "latent"]
    for name, value, _, error, *_ in lines:
        score = floats(found[name])
        expected = auroc(score[own], score[~own])
        assert f"{value} ± {error}" == with_error(expected.value, expected.standard_error, 4)
    assert "30 images of noise\n  log-density of pixels" in out  # all of them, since none were trained on
    assert {found["split"][row] for row in range(70) if found["data"][row] == "digits"} == {"test"}  # a measurement
    assert float(lines[0][1]) > 0.95  # noise is improbable
    cells = [(cell, data) for cell, data in zip(found["label"], found["data"], strict=True)]
    assert {data for cell, data in cells if cell == ""} == {"noise"}


def test_rows_have_the_names_of_files(run: Path, tmp_path: Path) -> None:
    names = ["b/zwei.png", 'a/éin, "s".png', "a/two.png", "b/four.png", "b/five.png"]
    folder = folder_of(tmp_path / "mine", names)
    done("score", run, folder, "--num-samples", 2, "-o", tmp_path / "x.csv")
    found = table(tmp_path / "x.csv")
    assert sorted(found["name"]) == sorted(names)
    assert [name.split("/")[0] for name in found["name"]] == found["class"]
    done("embed", run, folder, "-o", tmp_path / "x.csv")
    codes = table(tmp_path / "x.csv")
    assert codes["name"] == sorted(names)
    model = RunFolder(run).model
    for name, cell in zip(codes["name"], codes["mean_0"], strict=True):
        with Image.open(folder / name) as image, model.inference():
            mean = model.encode(torch.from_numpy(np.asarray(image).copy())[None, None]).mean
        assert float(mean[0, 0]) == pytest.approx(float(cell), abs=1e-5)


def test_names_belong_to_their_images(tmp_path: Path) -> None:
    names = [f"{number:02}.png" for number in range(25)]
    folder = folder_of(tmp_path / "set", names)
    (folder / "07.png").write_bytes(b"no image")
    for again in range(2):  # decoded, then from the cache
        whole = load_images(folder, "any")
        assert whole.names == tuple(name for name in names if name != "07.png"), again
    test = load_images(folder, "test").take(torch.tensor([2, 0]))
    for name, pixels in zip(test.names, test.pixels, strict=True):
        with Image.open(folder / name) as image:
            assert np.array_equal(np.asarray(image), pixels[0].numpy())
    listed = tmp_path / "list.txt"
    listed.write_text("set/03.png\nset/01.png\n")
    assert load_images(listed, "all").names == ("set/03.png", "set/01.png")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder_of(tmp_path / "packed", ["x/1.png", "x/2.png"]))
    assert load_images(archive, "all").names == ("x/1.png", "x/2.png")


def test_embed_writes_the_posteriors(run: Path, tmp_path: Path) -> None:
    said = "359 test images of digits; 1,438 others: --split all\n"
    assert done("embed", run, "--split", "test") == f"{said}{run / 'latents-split-test.csv'}\n"
    images, codes = RunFolder(run).images(), encode_images(RunFolder(run).model, RunFolder(run).images())
    assert images.labels is not None
    for suffix in ("parquet", "npz"):
        done("embed", run, "--split", "test", "-o", tmp_path / f"x.{suffix}")
    columns = table(run / "latents-split-test.csv")
    packed = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict()
    dims = range(codes.means.shape[1])
    assert list(columns) == list(packed)
    assert list(columns) == ["name", "split", "label", "class", *(f"mean_{d}" for d in dims), *(f"stddev_{d}" for d in dims)]
    for d in dims:
        for key, numbers in (("mean", codes.means), ("stddev", codes.stddevs)):
            assert floats(columns[f"{key}_{d}"]).float().equal(numbers[:, d])
            assert packed[f"{key}_{d}"] == numbers[:, d].tolist()
    assert packed["label"] == images.labels.tolist()
    assert packed["name"] == columns["name"] == [f"image {row}" for row in range(359)]
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"means", "stddevs", "names", "splits", "labels", "classes"}
        assert np.array_equal(arrays["means"], codes.means)
        assert np.array_equal(arrays["stddevs"], codes.stddevs)
        assert arrays["classes"][arrays["labels"]].tolist() == columns["class"] == packed["class"]


def test_splits(run: Path, tmp_path: Path) -> None:
    for split, num in (("train", 1438), ("test", 359), ("all", 1797)):
        done("embed", run, "--split", split, "-o", tmp_path / "x.npz")
        with np.load(tmp_path / "x.npz") as arrays:
            assert len(arrays["means"]) == num
    out = done("embed", run, "digits", "-o", tmp_path / "x.npz")  # the run's own by name
    assert out.startswith("1,797 images of digits; 1,438 train and 359 test images (column split)\n")
    with np.load(tmp_path / "x.npz") as arrays:
        is_test = arrays["splits"] == "test"
        test = encode_images(RunFolder(run).model, RunFolder(run).images()).means
        assert np.allclose(arrays["means"][is_test], test, atol=1e-5)
        assert (len(is_test), set(arrays["splits"])) == (1797, {"train", "test"})


def test_images_without_labels(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8))
    for name in ("y.csv", "y.parquet", "y.npz"):
        done("embed", run, tmp_path / "x.npy", "-o", tmp_path / name)
    assert "label" not in table(tmp_path / "y.csv")
    assert "class" not in pyarrow.parquet.read_table(tmp_path / "y.parquet").column_names
    with np.load(tmp_path / "y.npz") as arrays:
        assert set(arrays.files) == {"means", "stddevs", "names", "splits"}
    done("score", run, tmp_path / "x.npy", "--num-samples", 2, "-o", tmp_path / "z.csv")
    assert "label" not in table(tmp_path / "z.csv")


def test_model_without_its_training_images(run: Path, tmp_path: Path) -> None:
    save_vae(load_vae(run), tmp_path / "model")
    noise = folder_of(tmp_path / "noise", ["1.png", "2.png"])
    outcome = vae("score", tmp_path / "model", noise, "--num-samples", 2, "-o", tmp_path / "x.csv")
    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert "typicality and latent are left out" in outcome.err
    assert "typicality" not in table(tmp_path / "x.csv")
    assert len(table(tmp_path / "x.csv")["rank"]) == 2
    options = ("--num-samples", 2, "--by", "typicality", "-o", tmp_path / "y.csv")
    outcome = vae("score", tmp_path / "model", noise, *options)
    assert outcome.code == 2
    assert "choose another --by" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "y.csv").exists()


@pytest.mark.parametrize("command", ["score", "embed"])
def test_invalid_requests_are_refused(
    command: str, run: Path, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*args: object, **options: object) -> None:
        raise AssertionError("encoded before the output was checked")

    np.save(tmp_path / "color.npy", np.zeros((4, 3, 8, 8), np.uint8))
    (tmp_path / "taken.csv").mkdir()
    save_vae(load_vae(run), tmp_path / "model")
    refuse(command, run, "color.npy", says=("color", "3x8x8", "1x8x8"))
    refuse(command, run, "nowhere/of/all", says=("nowhere/of/all",))
    refuse(command, "model", says=("model: a model folder does not say which images",))
    refuse(command, "./nowhere", says=("nowhere: no such run or model folder",))
    monkeypatch.setattr("vaekit.models.VAE.encode", work)
    monkeypatch.setattr("vaekit.models.VAE.latent_terms", work)
    formats = ".csv or .parquet" if command == "score" else ".csv, .parquet or .npz"
    refuse(command, run, "-o", "x.xyz", says=(f"x.xyz: cannot be written in this format; end it in {formats}",))
    (tmp_path / "file").touch()
    refuse(command, run, "-o", "file/x.csv", says=("file is a file, not a folder",))
    refuse(command, run, "-o", "taken.csv", says=("taken.csv: a folder",))


def test_failed_write_leaves_no_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("vaekit.export.tables._write_csv", fail)
    before = contents(run)
    one_line(vae("embed", run), "latents.csv: cannot be written (no room)")
    one_line(vae("score", run, "--num-samples", 2, "--max-images", 3), "scores.csv: cannot be written (no room)")
    assert contents(run) == before


# Scores that rest on one sample


def test_effective_samples_are_their_formula() -> None:
    log_weights = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    weights = log_weights.exp()
    expected = weights.sum(0).square() / weights.square().sum(0)
    found = effective_samples(summarize_weights(log_weights)[1], 50)
    assert torch.allclose(found, expected)
    equal, single = torch.zeros(9, 1), torch.tensor([[0.0], *[[-90.0]] * 8])
    bounds = [float(effective_samples(summarize_weights(each)[1], 9)) for each in (equal, single)]
    assert bounds == pytest.approx([9, 1])


def test_a_standard_error_of_one_effective_sample_comes_with_a_warning() -> None:
    log_weights = torch.tensor([[0.0, 0.0], *[[-90.0, 0.1]] * 8])
    found = Scores(*summarize_weights(log_weights), None, 9)
    usual = Scores(*summarize_weights(log_weights[:, 1:]), None, 9)
    assert dominated_line([found, usual]).startswith("for 1 of 3 images one of the 9 samples of z has most of the weight")
    assert dominated_line([usual]) == ""


def test_the_warning_is_printed_and_the_effective_samples_are_in_the_table(trained: Path, tmp_path: Path) -> None:
    out = done("score", trained, "--num-samples", 2, "-o", tmp_path / "scores.parquet")
    effective = pyarrow.parquet.read_table(tmp_path / "scores.parquet")["effective_samples"].to_pylist()
    assert all(0.99 < value < 2.01 for value in effective)
    num = sum(value < 2 for value in effective)
    assert f"for {num:,} of {len(effective):,} images one of the 2 samples of z has most of the weight" in out
