"""Inception: the features of another implementation with the same weights, and files with other weights."""

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
from vaekit.evaluation.cost import seconds_per_feature_vector
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples import inception_weights
from vaekit.evaluation.samples.features import INCEPTION, metric_name
from vaekit.evaluation.samples.inception import SHA256, InceptionFeatures, inception_features
from vaekit.evaluation.samples.inception_network import DIM, InceptionV3, resize
from vaekit.evaluation.samples.inception_weights import file_sha256, load_weights
from vaekit.presentation.metric_text import print_metrics

RAMP = torch.arange(2 * 3 * 40 * 30).view(2, 3, 40, 30).mul(37).remainder(256).byte()
LARGE = torch.arange(3 * 320 * 300).view(1, 3, 320, 300).mul(11).remainder(251).byte()
IMAGES = (RAMP, LARGE)


def random_network() -> InceptionV3:
    """The network with random weights that are the same on every platform, by numpy's first generator."""
    network, noise = InceptionV3(), np.random.RandomState(0)
    for key, value in sorted(network.state_dict().items()):
        if value.is_floating_point():
            sample = torch.from_numpy(noise.standard_normal(value.numel())).float().view_as(value)
            scale = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
            value.copy_(sample * scale + (1.0 if key.endswith(("bn.weight", "running_var")) else 0.0))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    return random_network()


@pytest.fixture
def file(network: InceptionV3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in ``$VAEKIT_DATA`` with the keys of the published one, and other weights."""
    path = tmp_path / inception_weights.REPOSITORY / inception_weights.FILE
    path.parent.mkdir(parents=True)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(state | {"fc.weight": torch.zeros(1008, DIM), "fc.bias": torch.zeros(1008)}, path)
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    return path


@pytest.mark.parametrize(
    ("images", "selected", "mean", "stddev"),
    [
        (RAMP, [0.0, 0.557621, 0.126549, 0.0, 0.07029], 0.6152299, 0.8188097),
        (LARGE, [0.0, 0.585974, 0.128838, 0.0, 0.054857], 0.6920676, 0.9181820),
    ],
)
def test_features_of_another_implementation(
    network: InceptionV3, images: Tensor, selected: list[float], mean: float, stddev: float
) -> None:
    """Values of torch-fidelity 0.4.0, which matches TensorFlow's graph, for the same weights and images of two sizes."""
    with torch.no_grad():
        features = network(images).double()
    assert features.shape == (len(images), DIM)
    assert features[0, [0, 1, 500, 1000, 2047]].tolist() == pytest.approx(selected, abs=2e-5)
    assert float(features.mean()) == pytest.approx(mean, rel=1e-5)
    assert float(features.std()) == pytest.approx(stddev, rel=1e-5)
    assert sum(weight.numel() for weight in network.parameters()) == 21_785_568


def test_images_are_resized_as_by_tensorflow_1() -> None:
    """Two points to 299: linear from the first to the second, then constant."""
    row = resize(torch.tensor([0.0, 299.0]).view(1, 1, 1, 2))
    assert row.shape == (1, 1, 299, 299)
    positions = torch.arange(299) * 2 / 299
    assert torch.allclose(row[0, 0, 7], 299 * positions.clamp(max=1), atol=1e-3)
    same = torch.rand(1, 2, 299, 299)
    assert torch.equal(resize(same), same)


def test_gray_images_are_repeated_in_three_channels_and_rounded_to_8_bits(network: InceptionV3) -> None:
    extractor = InceptionFeatures(network, "0" * 64)
    gray = RAMP[:1, :1].float() / 255
    features = extractor(gray)
    with torch.no_grad():
        assert torch.equal(features, network(RAMP[:1, :1].expand(-1, 3, -1, -1)))
    assert torch.equal(extractor(gray + 0.4 / 255), features)
    assert metric_name(extractor, "FD") == "FID"
    assert metric_name(extractor, "KD") == "KID"
    assert metric_name(extractor, "coverage") == f"coverage-{INCEPTION}"
    with pytest.raises(DataError, match=r"Inception.*channels, got 2"):
        extractor(RAMP[:, :2] / 255)
    assert 0 < seconds_per_feature_vector(extractor, ImageSet(RAMP)) < 60


def test_weights_are_identified_by_their_hash(network: InceptionV3, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"fid_inception.*SHA-256 [0-9a-f]{16}"):
        inception_features()
    monkeypatch.setattr(inception_weights, "SHA256", file_sha256(file))
    extractor = inception_features()
    with torch.no_grad():
        assert torch.equal(extractor(RAMP / 255), network(RAMP))
    assert extractor.description.endswith(SHA256[:16])


@pytest.mark.parametrize("damage", ["missing", "transposed", "cut"])
def test_weights_that_do_not_fit_are_refused(network: InceptionV3, file: Path, damage: str) -> None:
    state = {key: value.clone() for key, value in network.state_dict().items()}
    if damage == "missing":
        del state["Mixed_7c.branch_pool.bn.running_var"]
    else:
        state["Conv2d_2a_3x3.conv.weight"] = state["Conv2d_2a_3x3.conv.weight"].movedim(1, 3)[:, :2].contiguous()
    save_file(state, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be read" if damage == "cut" else "not the weights of Inception-v3"):
        load_weights(random_network(), file)


def test_error_if_the_weights_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(*args: object) -> Path:
        raise LocalEntryNotFoundError("offline")

    def empty_snapshot(*args: object) -> Path:
        return tmp_path

    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    monkeypatch.setattr("vaekit.data.sources.hub.download", empty_snapshot)
    with pytest.raises(DataError, match=r"weights of Inception.*No such file"):
        inception_features()
    monkeypatch.setattr("vaekit.data.sources.hub.download", download)
    with pytest.raises(DataError, match=r"weights of Inception.*; connect once.*VAEKIT_DATA"):
        inception_features()


def test_evaluation_with_inception_gives_an_fid(network: InceptionV3) -> None:
    """For images without labels too, because no features are learned from them."""
    images = ImageSet(pixels(8, (1, 6, 5)))
    config = replace(BRIEF, num_samples=2, max_images=4, num_compared=8)
    evaluation = evaluate_model(
        make_vae(shape=(1, 6, 5)), images, train=images, extractor=InceptionFeatures(network, "0" * 64), config=config
    )
    numbers = evaluation.to_data()
    assert numbers["fidelity"]["columns"][:2] == ["FID", "KID"]
    assert numbers["fidelity"]["few"] is True
    console = Console(file=io.StringIO(), width=80)
    print_metrics(evaluation, console)
    assert "FID of 8 images by 2,048 features is dominated by its bias" in console.file.getvalue()  # type: ignore[attr-defined]
    assert numbers["fidelity"]["rows"]["test against train"]["FID"]["value"] == pytest.approx(0, abs=1e-6)
    assert numbers["fidelity"]["rows"]["noise"]["FID"]["value"] > 0.1
