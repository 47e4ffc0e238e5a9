"""Inception: the features of another implementation with the same weights; any file but the published one is refused."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.evaluation.cost import seconds_per_look
from vaekit.evaluation.model_evaluation import brief, evaluate
from vaekit.evaluation.samples import inception
from vaekit.evaluation.samples.features import INCEPTION, column
from vaekit.evaluation.samples.inception import DIM, Inception, InceptionFeatures, fill, inception_features, scaled
from vaekit.presentation.metric_text import print_metrics

RAMP = torch.arange(2 * 3 * 40 * 30).view(2, 3, 40, 30).mul(37).remainder(256).byte()
LARGE = torch.arange(3 * 320 * 300).view(1, 3, 320, 300).mul(11).remainder(251).byte()
IMAGES = (RAMP, LARGE)


def made_up() -> Inception:
    """The network with weights that are the same wherever numpy is: its first generator's stream never changes."""
    network, noise = Inception(), np.random.RandomState(0)
    for key, value in sorted(network.state_dict().items()):
        if value.is_floating_point():
            drawn = torch.from_numpy(noise.standard_normal(value.numel())).float().view_as(value)
            scale = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
            value.copy_(drawn * scale + (1.0 if key.endswith(("bn.weight", "running_var")) else 0.0))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> Inception:
    return made_up()


@pytest.fixture
def file(network: Inception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as it is published, but for its numbers, where ``$VAEKIT_DATA`` holds the repository."""
    path = tmp_path / inception.REPOSITORY / inception.FILE
    path.parent.mkdir(parents=True)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(state | {"fc.weight": torch.zeros(1008, DIM), "fc.bias": torch.zeros(1008)}, path)
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    return path


@pytest.mark.parametrize(
    ("images", "some", "mean", "stddev"),
    [
        (RAMP, [0.0, 0.557621, 0.126549, 0.0, 0.07029], 0.6152299, 0.8188097),
        (LARGE, [0.0, 0.585974, 0.128838, 0.0, 0.054857], 0.6920676, 0.9181820),
    ],
)
def test_features_of_another_implementation(
    network: Inception, images: Tensor, some: list[float], mean: float, stddev: float
) -> None:
    """torch-fidelity 0.4.0, which matches TensorFlow's graph, with the same weights, for images enlarged and reduced."""
    with torch.no_grad():
        found = network(images).double()
    assert found.shape == (len(images), DIM)
    assert found[0, [0, 1, 500, 1000, 2047]].tolist() == pytest.approx(some, abs=2e-5)
    assert float(found.mean()) == pytest.approx(mean, rel=1e-5)
    assert float(found.std()) == pytest.approx(stddev, rel=1e-5)
    assert sum(weight.numel() for weight in network.parameters()) == 21_785_568


def test_images_are_enlarged_as_tensorflow_1_did() -> None:
    """Two points to 299: the first repeated at its own place, what is beyond the last one repeated, linear between."""
    row = scaled(torch.tensor([0.0, 299.0]).view(1, 1, 1, 2))
    assert row.shape == (1, 1, 299, 299)
    places = torch.arange(299) * 2 / 299
    assert torch.allclose(row[0, 0, 7], 299 * places.clamp(max=1), atol=1e-3)
    same = torch.rand(1, 2, 299, 299)
    assert torch.equal(scaled(same), same)


def test_gray_images_are_looked_at_three_times_over_and_in_8_bits(network: Inception) -> None:
    extractor = InceptionFeatures(network, "0" * 64)
    gray = RAMP[:1, :1].float() / 255
    found = extractor(gray)
    with torch.no_grad():
        assert torch.equal(found, network(RAMP[:1, :1].expand(-1, 3, -1, -1)))
    assert torch.equal(extractor(gray + 0.4 / 255), found)
    assert column(extractor, "FD") == "FID"
    assert column(extractor, "KD") == "KID"
    assert column(extractor, "coverage") == f"coverage-{INCEPTION}"
    with pytest.raises(DataError, match="1 or 3 channels, got 2"):
        extractor(RAMP[:, :2] / 255)
    assert 0 < seconds_per_look(extractor, ImageSet(RAMP)) < 60


def test_weights_are_read_from_their_file_and_no_other(
    network: Inception, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"not the weights that an FID is made with \(SHA-256 [0-9a-f]{16}"):
        inception_features()
    monkeypatch.setattr(inception, "SHA256", inception.hash_of(file))
    extractor = inception_features()
    with torch.no_grad():
        assert torch.equal(extractor(RAMP / 255), network(RAMP))
    assert inception.SHA256[:16] in extractor.description


@pytest.mark.parametrize("harm", ["missing", "transposed", "cut"])
def test_weights_that_do_not_fit_are_refused(network: Inception, file: Path, harm: str) -> None:
    state = {key: value.clone() for key, value in network.state_dict().items()}
    if harm == "missing":
        del state["Mixed_7c.branch_pool.bn.running_var"]
    else:
        state["Conv2d_2a_3x3.conv.weight"] = state["Conv2d_2a_3x3.conv.weight"].movedim(1, 3)[:, :2].contiguous()
    save_file(state, file)
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be read" if harm == "cut" else "other weights than those of Inception-v3"):
        fill(made_up(), file)


def test_where_the_hub_is_out_of_reach_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(*args: object) -> Path:
        raise LocalEntryNotFoundError("offline")

    def partly(*args: object) -> Path:
        return tmp_path  # a snapshot without the file

    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    monkeypatch.setattr(inception, "download", partly)
    with pytest.raises(DataError, match=r"cannot be had from the Hugging Face Hub \(.*No such file"):
        inception_features()
    monkeypatch.setattr(inception, "download", download)
    said = r"cannot be had from the Hugging Face Hub \(it cannot be reached, and .*\); connect once, put them into"
    with pytest.raises(DataError, match=said):
        inception_features()


def test_a_fid_is_one_only_by_inception(network: Inception) -> None:
    """Images without labels are compared too, since nothing is learned from them."""
    images = ImageSet(pixels(8, (1, 6, 5)))
    effort = replace(brief(2, 4), compared=8)
    numbers = evaluate(
        make_vae(shape=(1, 6, 5)), images, train=images, extractor=InceptionFeatures(network, "0" * 64), effort=effort
    )
    assert numbers["fidelity"]["columns"][:2] == ["FID", "KID"]
    assert numbers["fidelity"]["few"] is True
    console = Console(file=io.StringIO(), width=80)
    print_metrics(numbers, console)
    assert "FID of 8 images by 2,048 features is bias before all" in console.file.getvalue()  # type: ignore[attr-defined]
    assert numbers["fidelity"]["rows"]["test against train"]["FID"]["value"] == pytest.approx(0, abs=1e-6)
    assert numbers["fidelity"]["rows"]["noise"]["FID"]["value"] > 0.1
