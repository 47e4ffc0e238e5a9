"""Requests that a model cannot answer, and outputs that cannot be written: an error of one line that changes nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tests.bad_input import HUGE, Make, noise, truncate, write_image
from tests.commands import QUICK, Refuse

# Output folders


def only_a_recipe(path: Path) -> None:
    path.mkdir()
    (path / "recipe.yaml").write_text("title: my own notes\n")
    (path / "thesis.tex").write_text("the only copy\n")


def only_notes(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("the only copy\n")


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("make", "out", "says"),
    [
        (only_notes, "out", ("out: ", "run folder", "--out")),
        (only_a_recipe, "out", ("out: ", "--out")),
        (lambda path: path.write_text("a file\n"), "out", ("out: ", "run folder", "--out")),
        (lambda path: path.write_text("a file\n"), "out/run", ("out/run: ",)),
    ],
)
def test_output_folder_that_is_not_a_run(
    force: list[str], make: Make, out: str, says: tuple[str, ...], refuse: Refuse, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    refuse("train", "--out", out, *QUICK, *force, says=says)


def test_output_folder_without_permission(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_access(path: Path, **options: object) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse_access)
    refuse("train", "--out", "shut/run", says=("shut/run: ", "Permission denied"))


AS_BEFORE = ("--epochs", 3, "--set", "evaluation.num_samples=10")
"""The options of the fixture ``trained``."""


def test_output_folder_that_is_a_run(run_copy: Path, refuse: Refuse) -> None:
    says = ("copy: ", "training.seed", "0 there, 1 here", "--force", "--out")
    refuse("train", "--out", run_copy, *AS_BEFORE, "--seed", 1, says=says)


@pytest.mark.parametrize("args", [["--data", "mnits"], ["--lr", "-1"], ["--set", "model.latent_dim=0"]])
def test_force_removes_nothing_before_the_recipe_is_checked(args: list[str], run_copy: Path, refuse: Refuse) -> None:
    refuse("train", *args, "--out", run_copy, "--force")


# Labels and images of a model


LABELED = [["sample"], ["reconstruct"], ["reconstruct", "x.png"], ["interpolate", "0", "1"]]


@pytest.mark.parametrize("args", LABELED)
def test_label_for_a_model_without_classes(args: list[str], trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png")
    name, *rest = args
    refuse(name, trained, *rest, "--label", 3, "-o", "out.png", says=("conditional", "--label"))


@pytest.mark.parametrize("args", LABELED)
@pytest.mark.parametrize(
    ("label", "known"), [("ten", "known: 0, 1"), ("10", "known: 0, 1"), ("-1", "'1'"), ("", "known: 0, 1")]
)
def test_unknown_label(
    args: list[str], label: str, known: str, trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    write_image(tmp_path / "x.png")
    name, *rest = args
    refuse(name, trained_conditional, *rest, f"--label={label}", "-o", "out.png", says=(f"{label}: ", "class", known))


@pytest.mark.parametrize(
    "args", [["reconstruct", "x.png"], ["interpolate", "x.png", "x.png"], ["interpolate", "x.png", "@3"]]
)
def test_conditional_model_without_a_label(
    args: list[str], trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    write_image(tmp_path / "x.png")
    name, *rest = args
    refuse(name, trained_conditional, *rest, "-o", "out.png", says=("conditional", "--label", "0, 1, 2"))


@pytest.mark.parametrize("args", [["reconstruct"], ["interpolate", "@0", "@1"], ["evaluate", "--num-samples", "0"]])
def test_conditional_model_on_images_without_labels(
    args: list[str], trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", noise(20, 8, 8))
    name, *rest = args
    refuse(name, trained_conditional, *rest, "--data", "a.npy", "-o", "out.png", says=("conditional", "label"))


def test_number_of_labels_differs_from_images(trained_conditional: Path, refuse: Refuse, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png")
    labels = ["--label", 1, "--label", 2]
    refuse("reconstruct", trained_conditional, *["x.png"] * 3, *labels, "-o", "out.png", says=("2 labels", "3 images"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, ("x.png: ", "image")),
        (lambda path: path.mkdir(), ("x.png: ", "image")),
        (lambda path: path.write_text("hello"), ("x.png: ", "image")),
        (lambda path: path.write_bytes(b""), ("x.png: ", "image")),
        (lambda path: truncate(write_image(path, 200), 0.5), ("x.png: ", "image")),
    ],
    ids=["missing", "folder", "text", "empty", "truncated"],
)
def test_file_that_is_not_an_image(make: Make, says: tuple[str, ...], trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    make(tmp_path / "x.png")
    refuse("reconstruct", trained, "x.png", "-o", "out.png", says=says)
    refuse("interpolate", trained, "@0", "x.png", "-o", "out.png", says=says)


@pytest.mark.parametrize("index", ["359", "99999999999999999999"])
def test_index_beyond_the_test_images(index: str, trained: Path, refuse: Refuse) -> None:
    refuse("interpolate", trained, "@0", f"@{index}", "-o", "out.png", says=(index, "359 test images"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sample", "-n", str(HUGE)], ("memory",)),
        (["interpolate", "0", "1", "--steps", str(HUGE)], ("--steps",)),
        (["sample", "--seed", str(2**70)], ("seed",)),
        (["evaluate", "--seed", str(2**70)], ("seed",)),
    ],
)
def test_numbers_that_are_too_large(args: list[str], says: tuple[str, ...], trained: Path, refuse: Refuse) -> None:
    name, *rest = args
    refuse(name, trained, *rest, "-o", "out.png", says=says)


@pytest.mark.parametrize(
    "args", [["sample"], ["reconstruct"], ["interpolate", "0", "1"], ["evaluate", "--num-samples", "0"]]
)
def test_output_in_a_file_in_place_of_a_folder(
    args: list[str], trained: Path, tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*args: object, **options: object) -> None:
        raise AssertionError("evaluated before the output was checked")

    monkeypatch.setattr("vaekit.experiment.evaluate.evaluate_model", measure)
    (tmp_path / "taken").touch()
    name, *rest = args
    refuse(name, trained, *rest, "-o", "taken/x.png", says=("taken/x.png: ", "not a folder"))


def test_output_of_an_unknown_format(trained: Path, refuse: Refuse) -> None:
    refuse("sample", trained, "-n", 4, "-o", "x.xyz", says=("x.xyz: ",))


def test_data_of_another_shape_than_the_model(trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 3, 32, 32))
    refuse("evaluate", trained, "--data", "a.npy", says=("a: ", "3x32x32", "1x8x8"))


def test_more_samples_than_the_memory_holds_are_refused(trained: Path, refuse: Refuse) -> None:
    refuse("sample", trained, "--num", 10**12, "-o", "x.png", says=("1,000,000,000,000 images", "memory", "fewer"))


def test_a_recipe_that_is_empty_or_another_file_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    refuse("train", "", says=("'': no such recipe",))
    (tmp_path / "notes.txt").write_text("name: mine")
    refuse("train", tmp_path / "notes.txt", says=("notes.txt: no recipe file", ".yaml"))
    refuse("train", "digits", "--resume", "run", says=("it takes no recipe; leave it out",))


def test_numbers_with_which_nothing_ends_are_refused(trained: Path, refuse: Refuse) -> None:
    refuse("evaluate", trained, "--num-samples", 10**20, says=("--num-samples", "1000000"))
    refuse("score", trained, "--num-samples", 10**20, says=("--num-samples", "1000000"))
    refuse("errors", trained, "--num", 100_000, says=("--num", "100"))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ValueError('mine')", "ValueError: mine"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; sys.exit()", "SystemExit"),
        ("class End(BaseException):\n    pass\nraise End", "End"),
        ("class Mute(Exception):\n    __str__ = None\nraise Mute", "Mute"),
    ],
)
def test_a_plugin_that_fails_is_named(code: str, says: str, tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "part.py").write_text(code)
    refuse("recipes", "--plugin", tmp_path / "part.py", says=(f"--plugin {tmp_path / 'part.py'}: ", says, "mend the file"))
