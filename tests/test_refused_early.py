"""What is refused before anything is computed: true for a number, a folder of something else, and colors that are none."""

from pathlib import Path

import pytest

from tests.commands import QUICK, Refuse, done, one_line, strict_json, vae
from vaekit.core.errors import ConfigError
from vaekit.runs.recipe import load_recipe


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        *("training.epochs", "training.patience", "optimizer.lr", "model.latent_dim", "data.size", "data.channels"),
        *("evaluation.num_samples", "objective.beta", "data.validation", "scheduler.warmup"),
    ],
)
def test_true_is_no_number(place: str, value: bool) -> None:
    with pytest.raises(ConfigError, match=rf"{place}: .* got (true|false|True|False|-?\d)"):
        load_recipe("digits", {place: value})


def test_true_in_a_list_is_no_number() -> None:
    with pytest.raises(ConfigError, match=r"model.encoder.hidden: input should be a number, got true"):
        load_recipe("digits", {"model.encoder.name": "mlp", "model.encoder.hidden": [64, True]})
    with pytest.raises(ConfigError, match=r"data.size: .* got true"):
        load_recipe("digits", {"data.size": [True, 8]})


def test_true_is_a_switch() -> None:
    assert load_recipe("digits", {"model.conditional": True}).model.conditional is True
    assert load_recipe("digits", {"training.epochs": 1}).training.epochs == 1


def test_a_dry_run_looks_at_its_folder(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("the only copy\n")
    refuse("train", "--out", "notes", *QUICK, "--dry-run", says=("notes: ", "run folder", "--out"))
    refuse("train", "--out", "notes/thesis.tex/run", *QUICK, "--dry-run", says=("thesis.tex is a file", "--out"))


def test_a_dry_run_looks_at_the_run_that_is_there(run_copy: Path, refuse: Refuse) -> None:
    as_before = ("--epochs", 3, "--set", "evaluation.num_samples=10", "--dry-run")
    says = ("training.seed", "0 there, 1 here", "--force")
    refuse("train", "--out", run_copy, *as_before, "--seed", 1, says=says)
    for options in ((), ("--seed", 1, "--force")):
        assert "to train on" in done("train", "--out", run_copy, *as_before, *options)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_color_that_is_none_is_told_before_another_recipe(dry: list[str], run_copy: Path) -> None:
    line = one_line(vae("train", "--out", run_copy, "--background", "greenish", *dry), "greenish", "not a color")
    assert "another recipe" not in line


def test_max_images_limits_every_estimate_that_is_not_asked_for(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    quick = ("--quick", "--num-samples", 2, "--num-chains", 2, "--num-distributions", 4, "-o", path)
    done("evaluate", trained, *quick, "--max-images", 3)
    written = strict_json(path)
    assert [written[key]["num_images"] for key in ("log_likelihood", "annealed", "amortization_gap")] == [3, 3, 3]
    done("evaluate", trained, *quick, "--max-images", 3, "--num-annealed", 5, "--num-refined", 0)
    assert strict_json(path)["annealed"]["num_images"] == 5


@pytest.mark.parametrize("also", ["5", "true", "{a: 1}", "[1]"])
@pytest.mark.parametrize("start", [[], ["--from", "./nowhere"]])
def test_sources_that_are_no_list_of_names(also: str, start: list[str]) -> None:
    one_line(vae("train", *start, "--set", f"data.also={also}"))
