"""Reproductions: verdicts, the artifact cache, the results of each tier; the smoke tiers on real data."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from tests.commands import done, vae
from vaekit.core.errors import Interrupted, RunError
from vaekit.data import load_images
from vaekit.evaluation.likelihood.bounds import elbo_terms
from vaekit.models import VAE
from vaekit.reproduction import (
    REPRODUCTIONS,
    TIERS,
    Outcome,
    Reproduction,
    Row,
    aevb,
    aevb_marginals,
    iwae_table,
    reproduce,
    results_folder,
    vamp_gain,
)
from vaekit.reproduction.artifacts import ARTIFACT, ArtifactCache
from vaekit.reproduction.measured_training import CHECKPOINT, MeasuredTraining
from vaekit.reproduction.results import RESULTS, read_results
from vaekit.reproduction.results_page import FIGURE, PAGE, page
from vaekit.runs.recipe import complete

QUIET = Console(quiet=True)
PAGES = Path(__file__).parent.parent / "results"


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# Verdicts.


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("a", -100.0, -103.9, 0.1, 4.0), "within"),
        (Row("a", -100.0, -104.25, 0.1, 4.0), "lower than published, missed by 0.25"),
        (Row("a", -100.0, -104.004, 0.1, 4.0), "lower than published, missed by less than 0.01"),
        (Row("a", -100.0, -95.0, 0.1, 4.0), "higher than published, missed by 1.00"),  # better, yet beyond the tolerance
        (Row("a", -100.0, None, None, 4.0), "not run"),
        (Row("a", None, -95.0, 0.1, 4.0), "no published number"),
        (Row("a", -100.0, -95.0, 0.1), "not compared"),
        (Row("a", 1.28, 0.9, minimum=0.3, maximum=1.5), "holds"),
        (Row("a", 1.28, 1.6, minimum=0.3, maximum=1.5), "does not hold"),
        (Row("a", None, 0.6, maximum=0.5), "does not hold"),
        (Row("a", 2.0, 0.1, minimum=0.0), "holds"),
        (Row("a", 2.0, 0.1, 0.04, minimum=0.0), "holds"),
        (Row("a", 2.0, 0.1, 0.06, minimum=0.0), "undecided, within two standard errors"),
        (Row("a", 2.0, -0.1, 0.06, minimum=0.0), "undecided, within two standard errors"),
        (Row("a", 2.0, -0.2, 0.06, minimum=0.0), "does not hold"),
        (Row("a", 2.0, -0.1, minimum=0.0), "does not hold"),
        (Row("a", 1.0, float("nan"), 0.1, 4.0), "not a number"),
        (Row("a", 1.0, float("nan"), 0.1, minimum=0.0), "not a number"),
    ],
)
def test_verdict_follows_from_the_numbers(row: Row, verdict: str) -> None:
    assert row.verdict == verdict
    assert row.to_data()["verdict"] == verdict


# Published numbers.


def test_published_curves_are_those_of_the_paper() -> None:
    curves = aevb.published_curves()
    assert len(curves["fig2"]) == 36
    assert len(curves["fig3"]) == 12
    assert "1312.6114" in curves["source"]
    # End points of the paper's figure, read by hand.
    for name, images_seen, bound in [
        ("mnist_nz20_aevb_test", 1e8, -100.2),
        ("mnist_nz3_aevb_test", 1e7, -138.0),
        ("mnist_nz200_wakesleep_test", 1e7, -109.1),
        ("frey_nz10_aevb_test", 1e7, 1171.0),
    ]:
        assert aevb.read_curve(curves["fig2"][name], images_seen) == pytest.approx(bound, rel=0.01)
    assert aevb.read_curve([[5.0, -200.0], [6.0, -100.0]], 10**5.5) == pytest.approx(-150)
    assert aevb.read_curve([[5.0, -200.0], [6.0, -100.0]], 1e7) is None
    assert aevb_marginals.read_nearest(curves["fig3"]["ntrain1000_aevb_test"], 5e6) == -143.2
    assert aevb_marginals.read_nearest(curves["fig3"]["ntrain1000_aevb_test"], 3e5) is None


def test_measurements_are_evenly_spaced_in_the_logarithm() -> None:
    images_seen = aevb.log_spaced(3e6)
    assert images_seen[0] == 1e5
    assert images_seen[-1] == 3e6
    assert len(images_seen) == 16
    assert aevb.nearest_epochs([1e5, 1.2e5, 3e6], 50_000) == [2, 60]
    assert aevb.nearest_epochs([10], 50_000) == [1]


# The artifact cache.


def recipe(epochs: int) -> Any:
    network = {"name": "mlp", "hidden": [16]}
    return complete(
        {
            "name": "artifact",
            "data": {"name": "digits"},
            "model": {"latent_dim": 2, "encoder": network, "decoder": network, "likelihood": {"name": "gaussian"}},
            "training": {"epochs": epochs, "batch_size": 100},
        },
        {},
    )


def measure_elbo(model: VAE) -> dict[str, float]:
    return {name: estimate.value for name, estimate in elbo_terms(model, load_images("digits", "test")).items()}


def train(folder: Path, measure: Any = measure_elbo, epochs: int = 4) -> tuple[VAE, list[dict[str, Any]]]:
    training = MeasuredTraining(recipe(epochs), load_images("digits", "train"), measure, epochs=[1, 3, epochs])
    return ArtifactCache(folder, QUIET).train("artifact", training)


def test_finished_training_is_read_from_the_cache(tmp_path: Path) -> None:
    model, records = train(tmp_path)
    num = len(load_images("digits", "train"))
    assert [(r["epoch"], r["images_seen"]) for r in records] == [(1, num), (3, 3 * num), (4, 4 * num)]
    assert records[0]["elbo"] < records[-1]["elbo"] == measure_elbo(model)["elbo"]

    def fail(model: VAE) -> dict[str, float]:
        raise AssertionError("trained again")

    cached_model, cached_records = train(tmp_path, fail)
    assert cached_records == records
    assert torch.equal(next(cached_model.parameters()), next(model.parameters()))
    with pytest.raises(AssertionError, match="trained again"):
        train(tmp_path, fail, epochs=5)


def test_interrupted_training_resumes_to_the_same_result(tmp_path: Path) -> None:
    model, records = train(tmp_path / "uninterrupted")

    class Stop(Exception):
        pass

    num_calls = 0

    def stop_at_second_call(model: VAE) -> dict[str, float]:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 2:
            raise Stop
        return measure_elbo(model)

    with pytest.raises(Stop):
        train(tmp_path / "interrupted", stop_at_second_call)
    assert (tmp_path / "interrupted" / "artifact" / CHECKPOINT).exists()
    calls: list[VAE] = []
    resumed, resumed_records = train(tmp_path / "interrupted", lambda model: calls.append(model) or measure_elbo(model))
    assert len(calls) == 2  # epochs 3 and 4; epoch 1 is in the checkpoint
    assert resumed_records == records
    assert all(torch.equal(a, b) for a, b in zip(resumed.state_dict().values(), model.state_dict().values(), strict=True))
    assert not (tmp_path / "interrupted" / "artifact" / CHECKPOINT).exists()


def set_seconds(path: Path, seconds: float) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds}))


def test_computing_time_includes_cached_artifacts(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, QUIET)
    assert cache.get_or_create("a", {"x": 1}, lambda folder: [1, 2]) == [1, 2]
    set_seconds(tmp_path / "a" / ARTIFACT, 40.0)
    cache = ArtifactCache(tmp_path, QUIET)
    assert cache.get_or_create("a", {"x": 1}, lambda folder: pytest.fail("created again")) == [1, 2]
    assert cache.seconds == 40.0
    assert cache.get_or_create("a", {"x": 2}, lambda folder: [3]) == [3]


def test_computing_time_of_shared_artifacts_is_counted_once(tmp_path: Path) -> None:
    ArtifactCache(tmp_path / "first" / "cpu", QUIET).get_or_create("a", {}, lambda folder: 1)
    set_seconds(tmp_path / "first" / "cpu" / "a" / ARTIFACT, 40.0)
    cache = ArtifactCache(tmp_path / "second" / "cpu", QUIET)
    for _ in range(2):
        assert cache.of_reproduction("first").get_or_create("a", {}, lambda folder: pytest.fail("created again")) == 1
    assert cache.seconds == 40.0


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"result": 5}'])
def test_damaged_artifact_is_created_again(text: str, tmp_path: Path) -> None:
    cache, folders = ArtifactCache(tmp_path, QUIET), []
    for _ in range(2):
        assert cache.get_or_create("a", {"b": 1}, lambda folder: folders.append(folder) or 7) == 7
    assert len(folders) == 1
    (tmp_path / "a" / ARTIFACT).write_text(text)
    assert cache.get_or_create("a", {"b": 1}, lambda folder: folders.append(folder) or 8) == 8
    assert len(folders) == 2


# Results.


def toy(obtained: float, error: type[BaseException] | None = None) -> Reproduction:
    def run(cache: ArtifactCache, tier: str) -> Outcome:
        if error is not None:
            raise error("interrupted in epoch 3")
        rows = [Row("bound", -100.0, obtained, 0.3, 4.0), Row("gain", 1.0, obtained, minimum=-200.0, note="shortened")]
        rows.append(Row("units", 19, 21, None, 2, unit="of 50"))
        rows.append(Row("gap", 1.28, 0.69, 0.13, minimum=0.3, maximum=1.5))
        figure = Figure(figsize=(2, 1 if tier == "smoke" else 3))
        return Outcome(rows, figure, ["One choice."], {"curve": [1.0, 2.0]})

    return Reproduction("toy", "a toy", "A paper (2026)", "none", {"smoke": "short", "cpu": "long", "gpu": "longer"}, run)


def test_results_contain_every_tier_that_was_run(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "toy"
    rows = reproduce(toy(-98.0), "cpu", folder, artifacts=tmp_path, console=QUIET)
    assert [row["verdict"] for row in rows] == ["within", "holds", "within", "holds"]
    reproduce(toy(-110.0), "smoke", folder, artifacts=tmp_path, console=QUIET)
    tiers = read_results(folder)
    assert set(tiers) == {"cpu", "smoke"}
    assert tiers["cpu"]["curves"] == {"curve": [1.0, 2.0]}
    assert tiers["smoke"]["rows"][0]["verdict"] == "lower than published, missed by 6.00"
    text = (folder / PAGE).read_text()
    assert "| bound | −100.00 | −98.00 ± 0.30 nats per image | ± 4.00 | within |" in text
    assert "| gain (shortened) | 1.00 | −98.00 nats per image | ≥ −200.00 | holds |" in text
    assert "| units | 19 | 21 of 50 | ± 2 | within |" in text
    assert "| gap | 1.28 | 0.69 ± 0.13 nats per image | ≥ 0.30, ≤ 1.50 | holds |" in text
    assert "Not run. Command: `vae reproduce toy --tier gpu`." in text
    assert "vae reproduce toy --tier cpu" in text
    assert re.search(r"\d cores?, \d threads?, torch \d", text)
    width, height = size(folder / FIGURE)
    assert height > width  # the figure of the cpu tier, although the smoke tier was run later
    assert {path.name for path in folder.iterdir()} == {RESULTS, PAGE, FIGURE}


def test_interruption_prints_the_command_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=rf"epoch 3; resume with: vae reproduce toy --tier cpu -o {tmp_path / 'toy'}$"):
        reproduce(toy(0.0, Interrupted), "cpu", tmp_path / "toy", artifacts=tmp_path, console=QUIET)
    assert not (tmp_path / "toy").exists()
    with pytest.raises(Interrupted, match=r"resume with: vae reproduce toy --tier cpu$"):
        reproduce(toy(0.0, Interrupted), "cpu", Path("results") / "toy", artifacts=tmp_path, console=QUIET)
    with pytest.raises(Interrupted, match=r"^interrupted; resume with: vae reproduce toy --tier cpu$"):
        reproduce(toy(0.0, KeyboardInterrupt), "cpu", Path("results") / "toy", artifacts=tmp_path, console=QUIET)


def test_only_full_tiers_write_to_the_published_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [results_folder("toy", tier) for tier in ("cpu", "gpu")] == [Path("results/toy"), Path("results/toy")]
    folder = results_folder("toy", "smoke")
    assert folder == Path("runs/reproduce/toy/smoke/results")
    reproduce(toy(-98.0), "cpu", Path("results/toy"), console=QUIET)
    before = {path.name: path.read_bytes() for path in Path("results/toy").iterdir()}
    reproduce(toy(-97.0), "smoke", folder, console=QUIET)
    assert {path.name: path.read_bytes() for path in Path("results/toy").iterdir()} == before
    assert read_results(folder)["smoke"]["command"] == "vae reproduce toy --tier smoke"


def test_file_in_place_of_a_folder_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    for folder in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "deeper"):
        with pytest.raises(RunError, match=r"notes\.txt is a file.*-o"):
            reproduce(toy(0.0, AssertionError), "cpu", folder, artifacts=tmp_path, console=QUIET)
    with pytest.raises(RunError, match=r"notes\.txt is a file.*move"):
        reproduce(toy(0.0, AssertionError), "cpu", tmp_path / "toy", artifacts=tmp_path / "notes.txt" / "x", console=QUIET)


@pytest.mark.parametrize("text", ["{", "[]", '{"tiers": []}', '{"tiers": {"cpu": 3}}', '{"tiers": {"huge": {}}}'])
def test_unreadable_results_are_refused_before_training(text: str, tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(RunError, match="cannot be read"):
        reproduce(toy(0.0, AssertionError), "cpu", tmp_path, artifacts=tmp_path, console=QUIET)


# The results in the repository.


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_committed_page_matches_its_numbers_and_the_registry(name: str) -> None:
    tiers = read_results(PAGES / name)
    assert set(tiers) <= set(TIERS)
    rows = [row for record in tiers.values() for row in record["rows"]]
    assert len(rows) > 0
    for row in rows:
        assert Row(**{key: value for key, value in row.items() if key != "verdict"}).to_data() == row
    assert (PAGES / name / PAGE).read_text() == page(REPRODUCTIONS[name], tiers)


def test_every_result_is_listed_in_the_index() -> None:
    links = re.findall(r"\]\(([\w-]+)/results\.md\)", (PAGES / "README.md").read_text())
    assert sorted(links) == sorted(REPRODUCTIONS)


# The command.


def test_command_lists_all_reproductions_and_refuses_other_names() -> None:
    out = done("reproduce")
    for name, reproduction in REPRODUCTIONS.items():
        assert name in out
        assert set(reproduction.tiers) == {"smoke", "cpu", "gpu"}
    refused = vae("reproduce", "aevb-fig9")
    assert refused.code == 2
    assert "aevb-fig5" in refused.err
    assert "vae reproduce lists all" in refused.err
    assert refused.err.count("\n") == 1


def test_shortened_schedules_are_noted() -> None:
    assert iwae_table.schedule_note("cpu") == "shortened schedule, the first 40 of 3,280 epochs"
    assert iwae_table.schedule_note("gpu") == ""


def test_recipes_of_two_priors_differ_in_the_prior_alone() -> None:
    vamp = vamp_gain.make_recipe("mnist", "vamp", "gpu")
    normal = vamp_gain.make_recipe("mnist", "standard-normal", "gpu")
    assert vamp.training.patience == 50
    models = vamp.model_dump()["model"], normal.model_dump()["model"]
    assert {key for key in models[0] if models[0][key] != models[1][key]} == {"prior"}
    assert vamp.optimizer == normal.optimizer
    assert vamp.training == normal.training


needs_data = pytest.mark.skipif("VAEKIT_DATA" not in os.environ, reason="needs VAEKIT_DATA with MNIST and Frey Face")


@needs_data
@pytest.mark.parametrize("name", [name for name in REPRODUCTIONS if name != "vamp-fashion"])
def test_smoke_tier_runs_and_compares(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = done("reproduce", name, "--tier", "smoke")
    folder = Path("runs") / "reproduce" / name / "smoke" / "results"
    assert str(folder / PAGE) in out
    assert not Path("results").exists()  # a smoke test does not write what is published
    record = read_results(tmp_path / folder)["smoke"]
    assert all(row["obtained"] is not None for row in record["rows"])
    assert f"vae reproduce {name} --tier smoke" in record["command"]
    assert size(folder / FIGURE)[0] > 200
    if name == "aevb-fig2":
        bounds = {row["quantity"].split(",")[0]: row["obtained"] for row in record["rows"]}
        assert -170 < bounds["MNIST"] < -115
        assert 400 < bounds["Frey Face"] < 1100
    if name == "aevb-weights":  # with small initial weights, wake-sleep ignores z after 1e5 images
        large, small = (row["obtained"] for row in record["rows"])
        assert 540 < small < 600 < large < 800
    if name == "aevb-fig3":
        test = [row["obtained"] for row in record["rows"] if "log p(x) of test" in row["quantity"]]
        assert abs(test[0] - test[1]) < 3  # the two estimators agree
        assert -175 < test[0] < -130
    if name == "ais-gap":
        assert record["rows"][2]["obtained"] > -0.5
