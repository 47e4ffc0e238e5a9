"""The public Python API: the methods of a model, ``vaekit.train`` and the public names."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vaekit
from tests.commands import SHAPE
from vaekit.core.config import to_data
from vaekit.core.rng import fixed_seed
from vaekit.distributions import Bernoulli, DiagonalGaussian, StandardNormal
from vaekit.evaluation.likelihood.bounds import elbo_terms
from vaekit.networks import MLPDecoder, MLPEncoder
from vaekit.runs.recipe import load_recipe

MEANS, LOGVARS = torch.tensor([0.5, -0.3, 0.0]), torch.tensor([0.2, 0.0, 0.3])
SMALL = (1, 4, 5)


def constant_model(means: Tensor = MEANS, logvars: Tensor = LOGVARS) -> tuple[vaekit.VAE, Tensor]:
    """A VAE whose posterior and decoder are constant, so that every quantity is known, and its logits."""
    posterior, decoder = DiagonalGaussian(6, 3), MLPDecoder(3, SMALL, hidden=[6])
    logits = torch.linspace(-2, 2, 20)
    with torch.no_grad():
        for head, value in ((posterior.mu, means), (posterior.logvar, logvars), (decoder.output, logits)):
            head.weight.zero_()
            head.bias.copy_(value)
    model = vaekit.VAE(MLPEncoder(SMALL, hidden=[6]), posterior, StandardNormal(3), decoder, Bernoulli())
    return model.eval(), logits.view(SMALL)


def test_methods_of_a_model_agree_with_the_formulas() -> None:
    model, logits = constant_model()
    x = (torch.rand(7, *SMALL) < 0.5).byte() * 255
    log_px = (x / 255 * logits - F.softplus(logits)).flatten(1).sum(1)
    rate = 0.5 * (MEANS**2 + LOGVARS.exp() - 1 - LOGVARS).sum()
    torch.testing.assert_close(model.encode(x).mean, MEANS.expand(7, 3))
    torch.testing.assert_close(model.encode(x).variance, LOGVARS.exp().expand(7, 3))
    torch.testing.assert_close(model.decode(torch.randn(2, 7, 3)).mean, logits.sigmoid().expand(2, 7, *SMALL))
    torch.testing.assert_close(model.decode(torch.randn(7, 3)).log_prob(x / 255), log_px)
    torch.testing.assert_close(model.elbo(x), log_px - rate)
    torch.testing.assert_close(model.elbo(x, num_samples=3), log_px - rate)
    torch.testing.assert_close(model.sample(4), logits.sigmoid().expand(4, *SMALL))
    torch.testing.assert_close(model.reconstruct(x), logits.sigmoid().expand(7, *SMALL))
    torch.testing.assert_close(model.interpolate(x[0], x[1], 6), logits.sigmoid().expand(6, *SMALL))
    # log p(x) = log p(x|z) here. The estimate is exact if the posterior is the prior, and converges otherwise.
    torch.testing.assert_close(model.log_likelihood(x, num_samples=20_000), log_px, atol=0.05, rtol=0)
    exact, _ = constant_model(torch.zeros(3), torch.zeros(3))
    torch.testing.assert_close(exact.log_likelihood(x, num_samples=3), log_px)


def test_methods_of_a_trained_model_are_consistent(trained: Path, digits: vaekit.ImageSet) -> None:
    model, x = vaekit.load(trained), digits.first(5).pixels
    with model.inference():
        means = model.encode(x).mean
        torch.testing.assert_close(means, model.posterior.mu(model.encoder(x / 255)))
        torch.testing.assert_close(model.reconstruct(x), model.decode(means).mean)
        line = torch.stack([torch.lerp(means[0], means[1], weight) for weight in (0.0, 0.25, 0.5, 0.75, 1.0)])
        torch.testing.assert_close(model.interpolate(x[0], x[1], 5), model.decode(line).mean)
        with fixed_seed(1):
            images = model.sample(6)
        with fixed_seed(1):
            torch.testing.assert_close(images, model.decode(torch.randn(6, 8)).mean)
    bound = model.log_likelihood(x, num_samples=500)
    assert bound.shape == (5,)
    assert (bound > torch.stack([model.elbo(x) for _ in range(50)]).mean(0)).all()


def stripes(num: int) -> vaekit.ImageSet:
    """Black images with a white row or column."""
    store = torch.zeros(num, *SMALL, dtype=torch.uint8)
    for index in range(num):
        store[index, 0, index % 4] = 255
    return vaekit.ImageSet(store, name="stripes")


def test_model_composed_in_python_trains_and_loads(tmp_path: Path) -> None:
    parts = MLPEncoder(SMALL, hidden=[16]), DiagonalGaussian(16, 2), StandardNormal(2)
    model = vaekit.VAE(*parts, MLPDecoder(2, SMALL, hidden=[16]), Bernoulli())
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "lr": 0.02, "evaluation.num_samples": 5}
    run = vaekit.train(model, stripes(60), objective=vaekit.ELBO(beta=0.5), out=tmp_path / "run", **options)
    assert to_data(run.recipe.objective["beta"]) in (0.5, {"name": "constant", "value": 0.5})
    # Of 60 images 6 are for the test, and 5 of the rest for validation.
    assert [record["images_seen"] for record in run.history] == [49, 98, 147, 196]
    assert run.metrics["elbo"]["num_images"] == 6
    for record in run.history:
        train = record["train"]
        assert train["loss"] == pytest.approx(train["distortion"] + 0.5 * train["rate"], rel=1e-5)
    assert run.history[-1]["valid"]["elbo"] > run.history[0]["valid"]["elbo"] + 0.2
    assert run.metrics["best_epoch"] == 4
    loaded, x = vaekit.load(tmp_path / "run"), stripes(4).pixels
    torch.testing.assert_close(loaded.reconstruct(x), model.reconstruct(x), atol=0, rtol=0)


def test_test_images_can_be_passed(tmp_path: Path) -> None:
    model, _ = constant_model()
    options: dict[str, Any] = {"epochs": 1, "lr": 1e-9, "evaluation.num_samples": 0}
    run = vaekit.train(model, stripes(20), test=stripes(12), out=tmp_path / "run", **options)
    elbo = elbo_terms(run.model, stripes(12))["elbo"]
    assert run.metrics["elbo"]["num_images"] == 12
    assert run.metrics["elbo"]["value"] == pytest.approx(elbo.value, abs=1e-5)


def test_recipe_on_other_images_is_renamed(tmp_path: Path) -> None:
    images = vaekit.ImageSet(torch.randint(0, 256, (50, *SHAPE), dtype=torch.uint8), name="noise")
    options: dict[str, Any] = {"epochs": 1, "evaluation.num_samples": 0}
    run = vaekit.train("digits", images, out=tmp_path / "run", **options)
    assert run.metrics["data"]["name"] == "noise"
    assert run.recipe.data.name != "digits"
    assert run.recipe.title == f"{load_recipe('digits').title}, on noise"
    assert (run.recipe.needs, run.recipe.expected) == ("", {})
    with pytest.raises(vaekit.VaekitError, match="noise"):
        run.images()


def test_public_names_can_be_imported() -> None:
    for name in vaekit.__all__:
        assert getattr(vaekit, name).__name__.lower().startswith(name.lower()[:4])
    assert set(dir(vaekit)) >= {*vaekit.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        vaekit.tarin  # noqa: B018


def test_the_documentation_lists_all_public_names() -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    rows = page.split("## All public names")[1].splitlines()
    names = [row.split("|")[2].strip(" `") for row in rows if row.startswith("| ")]
    assert sorted(names) == sorted([*vaekit.__all__, "vaekit."])
