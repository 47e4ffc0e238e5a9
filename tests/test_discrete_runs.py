"""Runs of discrete models: codes in metrics, curves, verdict and report, exact resume, the transformer fitted afterwards."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.commands import done, vae, weights_equal, without_time
from vaekit.core.errors import Interrupted, ModelError
from vaekit.distributions import TransformerPrior, VectorQuantizer
from vaekit.evaluation.evaluation_config import EvaluationConfig
from vaekit.evaluation.latents.code_use import CodeUse, code_use
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_of_each
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.experiment.fit_prior import fit_prior
from vaekit.experiment.prepare import prepare
from vaekit.experiment.train import resume, run
from vaekit.plots.curves import changing
from vaekit.reports.verdict import of_codes
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training import Callback, Trainer

QUIET = Console(quiet=True)
RECIPE: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 50,
    "latent_dim": 16,
    "model.conditional": True,
    "model.posterior": {"name": "vq", "codes": 24, "positions": 4, "decay": 0.8, "restart": 0.2},
    "model.prior": {"name": "uniform-codes"},
    "training.images_every": 1000,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(load_recipe("digits", RECIPE), tmp_path_factory.mktemp("discrete") / "run", console=QUIET)


@pytest.fixture(scope="module")
def fitted(trained: RunFolder) -> RunFolder:
    return fit_prior(trained, "transformer", {"width": 32, "num_blocks": 2}, steps=200, console=QUIET)


def test_metrics_curves_and_report_tell_of_codes(trained: RunFolder) -> None:
    use = code_use(trained.model, trained.images())
    assert use is not None
    indices = trained.model.encode(trained.images().pixels, trained.images().labels).indices  # type: ignore[attr-defined]
    counts = indices.flatten().bincount(minlength=24)
    assert torch.equal(use.counts, counts.unsqueeze(0))
    frequencies = (counts[counts > 0] / counts.sum()).double()
    perplexity = math.exp(float(-(frequencies * frequencies.log()).sum()))
    metrics = trained.metrics
    assert metrics["code_use"]["value"] == pytest.approx(100 * int((counts > 0).sum()) / 24)
    assert metrics["perplexity"]["value"] == pytest.approx(perplexity)
    assert metrics["rate"]["value"] == pytest.approx(4 * math.log(24))
    assert metrics["left_out"]["log_likelihood"].startswith("q(z|x) is one point")
    assert "log_likelihood" not in metrics
    assert [len(record["valid"]) for record in trained.history] == [5] * 3
    assert {"code_use", "perplexity"} <= set(changing([trained.history]))
    page = (trained.folder / "report.html").read_text()
    assert f"{metrics['code_use']['value']:.3g} % of the codes are used" in page
    assert "perplexity of the codes" in page


def test_the_verdict_names_dying_codes() -> None:
    alive = {"code_use": {"value": 97.2}, "perplexity": {"value": 100.0}, "rate": {"value": 20 * math.log(2)}}
    assert of_codes(alive).startswith("97.2 % of the codes are used, with a perplexity of 100.0.")
    assert "13.9 nats or 20 bits" in of_codes(alive)
    dying = {"code_use": 7.0, "perplexity": 3.0, "rate": 9.0}
    assert of_codes(dying).startswith("Codes die: only 7 % of the codes are used, with a perplexity of 3.0.")
    assert "restart" in of_codes(dying)
    assert of_codes({"elbo": 1.0}) == ""


def test_perplexity_of_even_and_of_single_codes() -> None:
    assert CodeUse(torch.full((1, 8), 5), 40).perplexity == pytest.approx(8)
    assert CodeUse(torch.tensor([[9, 0, 0]]), 9).perplexity == pytest.approx(1)
    assert CodeUse(torch.tensor([[4, 4, 0, 0], [2, 2, 2, 2]]), 8).perplexity == pytest.approx(math.sqrt(2 * 4))
    assert CodeUse(torch.tensor([[4, 4, 0, 0], [2, 2, 2, 2]]), 8).values()["code_use"] == 75


def test_what_a_point_makes_pointless_is_left_out(trained: RunFolder) -> None:
    images = trained.images().first(60)
    config = EvaluationConfig(num_samples=10, num_annealed=5, num_refined=5, num_aggregated=50, num_compared=0, num_probed=0)
    evaluation = evaluate_model(trained.model, images, config=config)
    assert {"log_likelihood", "annealed", "amortization_gap"} <= set(evaluation.left_out)
    assert evaluation.bracket is None
    assert evaluation.latents is not None
    assert evaluation.latents.rate.value == pytest.approx(4 * math.log(24))
    assert 0 < evaluation.latents.mutual_information.value <= math.log(50) + 1e-6
    assert evaluation.collapse is not None
    assert evaluation.collapse.verdict.startswith("no collapse")


@pytest.mark.parametrize("folder", ["trained", "fitted"])
def test_chains_over_codes_are_refused(folder: str, request: pytest.FixtureRequest) -> None:
    model, images = request.getfixturevalue(folder).model, request.getfixturevalue(folder).images().first(4)
    with pytest.raises(ModelError, match="Monte Carlo needs a density"):
        annealed_of_each(model, images, Annealing(num_chains=2, num_distributions=5))
    changes = {"step": {"name": "monte-carlo-em"}, "model.likelihood": {"name": "bernoulli"}, "model.conditional": False}
    recipe = load_recipe("digits", RECIPE | changes)
    with pytest.raises(ModelError, match=r"monte-carlo-em needs a density"):
        prepare(recipe)


class Stopped(Callback):
    """Interrupts a run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        if trainer.progress.step == self.step:
            raise KeyboardInterrupt


def test_a_stopped_run_is_resumed_bit_for_bit(trained: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        run(load_recipe("digits", RECIPE), folder, callbacks=[Stopped(30)], console=QUIET)
    resumed = resume(folder, {}, QUIET, report=False)
    assert weights_equal(folder, trained.folder)
    assert [without_time(r) for r in resumed.history] == [without_time(r) for r in trained.history]
    posterior = resumed.model.posterior
    assert isinstance(posterior, VectorQuantizer)
    assert posterior.num_restarts > 0


def test_the_transformer_shortens_the_codes(trained: RunFolder, fitted: RunFolder) -> None:
    before, after = trained.metrics, fitted.metrics
    assert after["distortion"]["value"] == pytest.approx(before["distortion"]["value"], rel=1e-6)
    assert after["rate"]["value"] < before["rate"]["value"] - 1
    assert after["code_use"] == before["code_use"]
    gain = after["prior_fit"]["gain"]["value"]
    assert gain > 1
    model = fitted.model
    assert isinstance(model.prior, TransformerPrior)
    shares = trained.model.encode(trained.images(split="train").pixels, trained.images(split="train").labels).indices
    first = shares[:, 0].bincount(minlength=24) / len(shares)  # type: ignore[attr-defined]
    torch.testing.assert_close(model.prior.marginals[0], first, atol=0.05, rtol=0)
    assert (model.prior.marginals.sum(1) - 1).abs().max() < 1e-5


def test_samples_of_the_fitted_prior_are_likely(trained: RunFolder, fitted: RunFolder) -> None:
    labels = torch.arange(200) % 10
    uniform, learned = trained.model, fitted.model
    with torch.no_grad():
        pz = learned.prior_of(200, labels)
        scores = [float(pz.log_prob(z).mean()) for z in (uniform.prior_of(200, labels).sample(), pz.sample())]
        cold = float(pz.log_prob(pz.tempered(0.5).sample()).mean())  # type: ignore[attr-defined]
    assert scores[0] + 1 < scores[1] < cold
    assert learned.sample(10, labels[:10], temperature=0.5).shape == (10, 1, 8, 8)


@pytest.mark.parametrize("folder", ["trained", "fitted"])
def test_commands_accept_a_discrete_run(folder: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path = request.getfixturevalue(folder).folder
    for command in ("sample", "reconstruct", "traverse", "manifold", "map", "rates", "errors", "curves"):
        done(command, path, "-o", tmp_path / f"{command}.png")
        assert (tmp_path / f"{command}.png").stat().st_size > 1000
    done("interpolate", path, "1", "7", "-o", tmp_path / "interpolate.png")
    done("sample", path, "--temperature", "0.7", "-o", tmp_path / "cold.png")
    printed = done("score", path, "digits", "--by", "log_px", "-o", tmp_path / "scores.csv")
    assert "from below: the ELBO, since z is one point" in printed
    done("embed", path, "--split", "test", "-o", tmp_path / "latents.csv")
    rows = (tmp_path / "latents.csv").read_text().splitlines()
    assert len(rows) == 1 + len(request.getfixturevalue(folder).images())


def test_a_density_is_refused_for_codes_and_the_reverse() -> None:
    for changes, word in (
        ({"model.posterior": RECIPE["model.posterior"], "latent_dim": 16}, "uniform-codes"),
        ({"model.prior": {"name": "uniform-codes"}}, "vq"),
    ):
        settings = [text for key, value in changes.items() for text in ("--set", f"{key}={json.dumps(value)}")]
        settings = [text.replace("latent_dim=", "model.latent_dim=") for text in settings]
        outcome = vae("train", "digits", *settings, "--dry-run")
        assert outcome.code == 2
        [line] = outcome.err.splitlines()
        assert word in line


def test_a_density_is_not_fitted_to_codes(trained: RunFolder) -> None:
    outcome = vae("prior", trained.folder, "--name", "gaussian", "--out", trained.folder.parent / "other")
    assert outcome.code == 2
    assert "uniform-codes" in outcome.err or "transformer" in outcome.err
