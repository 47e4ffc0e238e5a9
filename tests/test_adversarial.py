"""The adversarial objective: which term moves which weights, and how much."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.commands import newest_state, one_line, vae, weights_equal, without_time
from tests.test_contracts import make_vae
from vaekit.core.errors import ConfigError, DataError, ModelError
from vaekit.core.terms import StepContext, Terms
from vaekit.data import Batches, ImageSet, TensorSet
from vaekit.experiment.outcome import last_epoch_lines
from vaekit.experiment.prepare import build_model, make_trainer
from vaekit.experiment.train import resume, run
from vaekit.models import VAE
from vaekit.objectives import Adversarial
from vaekit.objectives.adversarial import last_layer
from vaekit.objectives.discriminator import PatchDiscriminator, discriminator_loss
from vaekit.objectives.feature_learning import contrastive_loss, learned_network, random_crops
from vaekit.objectives.feature_network import FeatureNetwork, feature_distance
from vaekit.objectives.vgg16 import FILE, REPOSITORY, vgg16, weight_shapes
from vaekit.reports.verdict import verdict
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training.epoch_table import EpochTable

SHAPE = (3, 16, 12)
BRIEF = patch.multiple("vaekit.objectives.feature_learning", NUM_STEPS=4, BATCH_SIZE=8)
"""A short learning of features."""
CLIPPED: dict[str, Any] = {
    "training.clip_norm": 0.5,
    "training.patience": None,
    "optimizer": {"name": "sgd", "lr": 1.0},
    "scheduler": {"name": "constant"},
}


def images(num: int = 24, shape: tuple[int, int, int] = SHAPE) -> ImageSet:
    noise = torch.Generator().manual_seed(1)
    return ImageSet(torch.randint(0, 256, (num, *shape), dtype=torch.uint8, generator=noise))


def prepared(model: VAE, **settings: Any) -> Adversarial:
    objective = Adversarial(**{"width": 8, **settings})
    with BRIEF:
        objective.prepare(model, images(shape=model.shape))  # type: ignore[arg-type]
    return objective


def trained_once(**settings: Any) -> tuple[VAE, Adversarial, Terms, dict[str, Tensor]]:
    """A model and an objective with the gradients of one loss, the terms, and the logs."""
    model = make_vae("conv", "conv", "laplace", shape=SHAPE, scale=0.1).train()
    objective = prepared(model, **settings)
    torch.manual_seed(3)
    terms = model(images(6).pixels, num_samples=objective.num_samples)
    loss = objective(terms, StepContext(epoch=2.0))
    loss.value.backward(retain_graph=True)
    return model, objective, terms, loss.logs


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.requires_grad and p.grad is not None]


def parts(model: VAE, objective: Adversarial, terms: Terms) -> dict[str, Tensor]:
    """Each term of the model's loss as autograd knows it, unweighted: the plain formulas."""
    assert objective.discriminator is not None
    assert objective.feature_maps is not None
    y, num = terms.px.mean, terms.x[0].numel()
    return {
        "distortion": terms.distortion().mean(),
        "rate": terms.rate().mean(),
        "features": num * feature_distance(objective.feature_maps, y, terms.x).mean(),
        "adversarial": -num * objective.discriminator(y.flatten(0, 1)).mean(),
    }


@pytest.mark.parametrize("num_samples", [1, 2])
def test_the_gradient_of_each_network_is_that_of_its_own_loss_alone(num_samples: int) -> None:
    """A fault of other code: the discriminator's loss reaches the decoder, or the decoder's the discriminator."""
    model, objective, terms, logs = trained_once(num_samples=num_samples, beta=0.3, features=0.7)
    assert objective.discriminator is not None
    real, fake = objective.discriminator(terms.x), objective.discriminator(terms.px.mean.detach().flatten(0, 1))
    own = discriminator_loss(real, fake)
    expected = torch.autograd.grad(own, list(objective.discriminator.parameters()), retain_graph=True)
    for found, value in zip(gradients(objective.discriminator), expected, strict=True):
        torch.testing.assert_close(found, value)
    assert logs["discriminator"].item() == pytest.approx(own.item(), rel=1e-5)

    values = parts(model, objective, terms)
    weighted = values["distortion"] + 0.3 * values["rate"] + 0.7 * values["features"]
    weighted = weighted + logs["adversarial_weight"] * values["adversarial"]
    expected = torch.autograd.grad(weighted, list(model.parameters()), retain_graph=True)
    for (name, parameter), value in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, value, rtol=1e-3, atol=1e-3 * value.abs().max().item(), msg=name)


def test_each_term_reaches_the_last_layer_with_the_norm_that_is_logged() -> None:
    """A fault of other code: the perceptual term is computed without a gradient."""
    model, objective, terms, logs = trained_once(features=0.7, adversarial=0.4)
    last, values = last_layer(model), parts(model, objective, terms)
    assert last is model.decoder.output.weight
    norms = {
        name: torch.autograd.grad(values[name], last, retain_graph=True)[0].norm().item()
        for name in ("distortion", "features", "adversarial")
    }
    assert min(norms.values()) > 0
    assert logs["gradient_distortion"].item() == pytest.approx(norms["distortion"], rel=1e-4)
    assert logs["gradient_features"].item() == pytest.approx(0.7 * norms["features"], rel=1e-4)
    weight = logs["adversarial_weight"].item()
    assert logs["gradient_adversarial"].item() == pytest.approx(weight * norms["adversarial"], rel=1e-4)
    both = torch.autograd.grad(values["distortion"] + 0.7 * values["features"], last, retain_graph=True)[0].norm().item()
    assert weight == pytest.approx(0.4 * both / norms["adversarial"], rel=1e-3)
    rate = torch.autograd.grad(values["rate"], list(model.encoder.parameters()), allow_unused=True)
    assert sum(float(g.norm()) for g in rate if g is not None) > 0


def test_the_network_of_features_is_frozen_and_not_trained() -> None:
    _, objective, _, _ = trained_once()
    assert objective.feature_maps is not None
    assert all(not p.requires_grad and p.grad is None for p in objective.feature_maps.parameters())
    assert not any(name.startswith("_last") for name, _ in objective.named_parameters())


def test_without_discriminator_and_features_it_is_the_weighted_bound() -> None:
    _, objective, terms, logs = trained_once(features=0.0, adversarial=0.0, beta=0.5)
    loss = objective(terms, StepContext())
    assert loss.value.item() == pytest.approx((terms.distortion() + 0.5 * terms.rate()).mean().item())
    assert logs["elbo"].item() == pytest.approx(terms.elbo().mean().item())
    assert logs["absolute_error"].item() == pytest.approx((terms.px.mean - terms.x).abs().mean().item(), rel=1e-5)
    assert set(logs) == {"elbo", "rate", "distortion", "beta", "absolute_error", "gradient_distortion"}
    assert not list(objective.parameters())


def test_the_discriminator_begins_at_its_epoch() -> None:
    model = make_vae("conv", "conv", "laplace", shape=SHAPE)
    objective = prepared(model, start=2.0, features=0.0)
    terms = model(images(6).pixels)
    before, after = (objective(terms, StepContext(epoch=epoch)) for epoch in (1.99, 2.0))
    assert before.logs.keys() == after.logs.keys()
    assert before.logs["discriminator"].item() == before.logs["gradient_adversarial"].item() == 0
    before.value.backward(retain_graph=True)
    assert not gradients(objective)
    assert after.logs["gradient_adversarial"].item() > 0
    after.value.backward()
    assert len(gradients(objective)) == len(list(objective.parameters()))


def test_without_gradients_the_values_are_the_same() -> None:
    """A failed update is explained by a second pass without gradients."""
    model = make_vae("conv", "conv", "laplace", shape=SHAPE, scale=0.1)
    objective, x = prepared(model), images(6).pixels
    found = []
    for enabled in (True, False):
        torch.manual_seed(3)
        with torch.set_grad_enabled(enabled):
            found.append(objective(model(x), StepContext()).logs)
    assert found[0].keys() == found[1].keys()
    for name in ("elbo", "features", "adversarial", "discriminator"):
        assert found[0][name].item() == pytest.approx(found[1][name].item())


@pytest.mark.parametrize(("shape", "size"), [((3, 128, 96), (16, 12)), ((1, 28, 28), (7, 7)), ((2, 7, 5), (7, 5))])
def test_the_discriminator_judges_patches_of_images_of_any_size(shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    discriminator, x = PatchDiscriminator(shape, 16), torch.rand(3, *shape)
    logits = discriminator(x)
    assert logits.shape == (3, 1, *size)
    torch.testing.assert_close(logits[:1], discriminator(x[:1]))  # no image depends on the others of its batch
    zeros = torch.zeros(2, 1, 2, 2)
    assert discriminator_loss(zeros, zeros).item() == 1
    assert discriminator_loss(zeros + 1, zeros - 1.5).item() == 0
    assert discriminator_loss(zeros - 1, zeros).item() == pytest.approx(1.5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 9, 5), (1, 28, 28), (3, 64, 48)])
def test_the_distance_by_features_is_zero_for_equal_images_and_grows_with_noise(shape: tuple[int, int, int]) -> None:
    network = FeatureNetwork(shape[0]).requires_grad_(False)
    x = torch.rand(2, *shape)
    assert feature_distance(network, x[None], x).abs().max().item() == 0
    noise = 0.5 * torch.randn(2, *shape)
    near, far = (feature_distance(network, (x + share * noise)[None], x) for share in (0.1, 1.0))
    assert near.shape == (1, 2)
    assert (near < far).all()
    assert (far <= 4).all()
    y = torch.zeros(1, 2, *shape, requires_grad=True)  # constant images, whose features may be 0
    feature_distance(network, y, x).sum().backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


def test_the_contrastive_loss_is_that_of_its_formula() -> None:
    u = torch.eye(3)
    equal = contrastive_loss(u, u).item()
    assert equal == pytest.approx(-torch.log_softmax(torch.tensor([5.0, 0.0, 0.0]), 0)[0].item())
    assert contrastive_loss(u, u.roll(1, 0)).item() == pytest.approx(equal + 5)
    same = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    assert contrastive_loss(same, same).item() == pytest.approx(torch.tensor(4.0).log().item())


def test_crops_show_parts_of_the_image() -> None:
    x = torch.full((50, 1, 80, 70), 0.6)
    crops = random_crops(x, torch.Generator().manual_seed(0))
    assert crops.shape == (50, 1, 64, 64)
    assert crops.flatten(1).std(1).max().item() == pytest.approx(0, abs=1e-5)  # of a constant image, one color each
    assert crops.flatten(1).mean(1).std().item() > 0.05


def test_features_are_learned_once_and_kept_in_the_cache(empty_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, device, before = images(), torch.device("cpu"), torch.get_rng_state()
    with BRIEF:
        first = learned_network(data, device)
        [path] = (empty_cache / "features").iterdir()
        written = path.stat().st_mtime_ns
        second = learned_network(data, device)
        assert path.stat().st_mtime_ns == written
        path.write_bytes(b"damaged")
        third = learned_network(data, device)
        other = learned_network(images(25), device)
    assert torch.equal(torch.get_rng_state(), before)  # a run is the same whether the cache has them or not
    assert "damaged; learning" in capsys.readouterr().err
    for a, b, c, d in zip(*(network.state_dict().values() for network in (first, second, third, other)), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert a.dim() < 2 or not torch.equal(a, d)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (images(5), DataError, r"at least 20 images, got 5.*objective.features=0"),
        (TensorSet(torch.rand(30, 3, 16, 12)), ConfigError, r"objective.*compares images"),
    ],
)
def test_data_that_it_does_not_fit_is_refused(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Adversarial().prepare(make_vae("conv", "conv", shape=SHAPE), data)


def test_what_it_lacks_is_said() -> None:
    model = make_vae("conv", "conv", shape=SHAPE)
    with pytest.raises(ModelError, match=r"objective.*prepare\(model, images\)"):
        Adversarial()(model(images(2).pixels), StepContext())
    with pytest.raises(ModelError, match=r"objective.*decoder"):
        last_layer(nn.Linear(2, 2))


RUN: dict[str, Any] = {
    "batch_size": 400,
    "evaluation.num_samples": 0,
    "scheduler": {"name": "constant"},
    "objective": {"name": "adversarial", "width": 8, "start": 1},
    "model.likelihood": {"name": "laplace"},
    "training.patience": None,
}
QUIET = Console(quiet=True)


def train(folder: Path, epochs: int) -> RunFolder:
    return run(load_recipe("digits", RUN | {"epochs": epochs}), folder, report=False, console=QUIET)


def test_a_run_that_is_resumed_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    """The discriminator begins before the interruption; its weights and their moments are part of the checkpoint."""
    with BRIEF:
        whole, begun = train(tmp_path / "whole", 3), train(tmp_path / "run", 2)
        resumed = resume(begun.folder, {"epochs": 3}, QUIET, report=False)
    assert [record["best"] for record in resumed.history] == [True] * 3
    assert resumed.history[0]["train"]["discriminator"] == 0 < resumed.history[1]["train"]["discriminator"]
    assert weights_equal(whole.folder, resumed.folder)
    assert [without_time(record) for record in whole.history] == [without_time(record) for record in resumed.history]
    first, second = (newest_state(each.folder)["step"]["modules"]["objective"] for each in (whole, resumed))
    assert {name.split(".")[0] for name in first} == {"discriminator", "feature_maps"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_report_says_that_the_objective_is_no_bound() -> None:
    record = {"epoch": 1, "best": True, "valid": {"elbo": 1.0}, "train": {"elbo": 1.0, "gradient_distortion": 2.0}}
    later = record | {"epoch": 2, "valid": {"elbo": 9.0}}
    sentences = verdict({"elbo": 9.0}, [record, later], 3, 3)
    assert "not trained by a bound" in sentences[1]
    assert not any("more epochs" in sentence for sentence in sentences)
    del record["train"]["gradient_distortion"]
    assert "more epochs" in verdict({"elbo": 9.0}, [record, later], 3, 3)[1]


def test_the_console_says_that_the_last_epoch_is_kept() -> None:
    record = {"epoch": 3, "best": True, "lr": 0.1, "images_per_second": 1.0, "train": {"loss": 1.0}}
    record |= {"valid": {"elbo": -1.0, "distortion": 0.5, "rate": 0.5}}
    for keeps_last in (False, True):
        table = EpochTable(9, keeps_last)
        assert ("last kept" in table.header(record)[0]) == keeps_last
        assert ("*" in table.line(record)) != keeps_last
        assert max(map(len, table.header(record))) <= 78
    assert "kept epoch 3, the last" in list(last_epoch_lines(3))[1]


def test_wrong_combinations_are_one_line() -> None:
    options = ("train", "digits", "--set", "objective={name: adversarial, features: 0}", "--dry-run", "--set")
    one_line(vae(*options, "training.patience=3"), "training.patience", "adversarial")
    step = "step={name: monte-carlo-em}"
    one_line(vae(*options, "training.patience=null", "--set", step), "monte-carlo-em", "objective")
    one_line(vae(*options, "training.patience=null", "--set", "data.binarize=dynamic"), "data.binarize", "adversarial")


def test_the_norm_of_the_discriminator_does_not_scale_the_gradient_of_the_model() -> None:
    """Each is clipped by its own norm, and the spikes that are looked for are those of the model."""
    found = []
    for factor in (1.0, 1e6):
        torch.manual_seed(0)
        with patch("vaekit.objectives.adversarial.discriminator_loss", lambda a, b, f=factor: f * discriminator_loss(a, b)):
            recipe = load_recipe("digits", {"objective": {"name": "adversarial", "features": 0.0, "width": 8}} | CLIPPED)
            model = build_model(recipe, images(shape=(1, 8, 8)))
            step = make_trainer(recipe, model, images(shape=(1, 8, 8)), None, lambda model: {}).step
            [batch] = Batches(images(shape=(1, 8, 8)), 24, seed=0)
            before = [p.clone() for p in step.model.parameters()]
            norm = step(batch, StepContext())["grad_norm"]
            moved = [p.detach() - q for p, q in zip(step.model.parameters(), before, strict=True)]
            critic = [p.detach().clone() for p in step.objective.parameters()]
        found.append((norm, moved, critic))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))
    assert torch.stack([m.norm() for m in found[0][1]]).norm().item() == pytest.approx(0.5, rel=1e-4)  # lr times clip_norm


@pytest.fixture
def weights_of_vgg16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of local data with made-up weights of VGG16, and of a layer that is not read."""
    noise = torch.Generator().manual_seed(0)
    weights = {name: 0.02 * torch.randn(shape, generator=noise) for name, shape in weight_shapes().items()}
    path = tmp_path / REPOSITORY / FILE
    path.parent.mkdir(parents=True)
    save_file(weights | {"head.fc.weight": torch.zeros(2, 2)}, path)
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    return path


@pytest.mark.parametrize("shape", [(3, 16, 12), (1, 9, 20)])
def test_vgg16_is_the_published_network(weights_of_vgg16: Path, shape: tuple[int, int, int]) -> None:
    """Against the layers as torch has them: two or three convolutions, then half the resolution."""
    x = torch.rand(2, *shape)
    found = vgg16(shape[0], torch.device("cpu"))(x)
    weights = load_file(weights_of_vgg16)
    mean, stddev = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps = (x.expand(-1, 3, -1, -1) - mean[:, None, None]) / stddev[:, None, None]
    expected, layer = [], 0
    for count in (2, 2, 3, 3, 3):
        for _ in range(count):
            conv = nn.Conv2d(maps.shape[1], len(weights[f"features.{layer}.bias"]), 3, padding=1)
            conv.load_state_dict({name: weights[f"features.{layer}.{name}"] for name in ("weight", "bias")})
            maps, layer = conv(maps).relu(), layer + 2
        expected.append(maps)
        maps, layer = nn.MaxPool2d(2, ceil_mode=True)(maps), layer + 1
    assert [tuple(maps.shape[1:2]) for maps in found] == [(64,), (128,), (256,), (512,), (512,)]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_gradient_passes_through_vgg16_and_it_is_in_no_checkpoint(weights_of_vgg16: Path) -> None:
    _, objective, _, logs = trained_once(feature_network="vgg16", adversarial=0.0)
    assert logs["features"] > 0
    assert logs["gradient_features"] > 0
    assert list(objective.parameters()) == []
    assert objective.state_dict() == {}


def test_vgg16_is_refused_in_a_line(weights_of_vgg16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"feature_network: vgg16.*got 2.*learned"):
        vgg16(2, torch.device("cpu"))
    weights = load_file(weights_of_vgg16)
    save_file({name: value for name, value in weights.items() if name != "features.28.bias"}, weights_of_vgg16)
    with pytest.raises(DataError, match=r"model.safetensors: these are not the weights of VGG16"):
        vgg16(3, torch.device("cpu"))
    weights_of_vgg16.write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"model.safetensors: cannot be read"):
        vgg16(3, torch.device("cpu"))

    def offline(*args: object) -> Path:
        raise LocalEntryNotFoundError("offline")

    weights_of_vgg16.unlink()
    monkeypatch.setattr("vaekit.data.sources.hub.download", offline)
    with pytest.raises(DataError, match=r"weights of VGG16 cannot be downloaded.*feature_network=learned"):
        vgg16(3, torch.device("cpu"))
