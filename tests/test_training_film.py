"""The film of a training: which steps it has, how it moves between them, and that training is the same with and without."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import vaekit
from tests.commands import done, one_line, vae, weights_equal
from tests.plot_outputs import played
from tests.sheets import lines_on
from vaekit.core.errors import RunError
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_gray_levels
from vaekit.experiment.train import resume, run
from vaekit.plots import Look
from vaekit.presentation.training_film import FIRST, LAST, animate_training, film_layout, is_filmed
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder

QUIET = Console(quiet=True)
SETTINGS: dict[str, Any] = {"batch_size": 200, "evaluation.num_samples": 0, "latent_dim": 3}


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of seven steps."""
    return run(
        load_recipe("digits", SETTINGS | {"epochs": 2}), tmp_path_factory.mktemp("film") / "run", console=QUIET
    ).folder


@pytest.fixture
def copy(filmed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filmed, tmp_path / "copy")


def steps_of(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "images" / "film").glob("step-*.webp"))


def frames_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images" / "film").iterdir()}


def test_steps_are_spaced_by_their_logarithms_from_before_the_first() -> None:
    steps = [step for step in range(100_001) if is_filmed(step)]
    assert steps[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13]
    late = np.array([step for step in steps if step >= 64])
    ratios = late[1:] / late[:-1]
    assert np.abs(np.log2(ratios) - 0.25).max() < 0.02
    assert {2**power for power in range(17)} <= set(steps)
    assert len(steps) < 75


def test_training_keeps_its_first_and_last_images(filmed: Path) -> None:
    assert steps_of(filmed) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14]
    assert sum(map(len, frames_of(filmed).values())) < 100_000


def test_film_begins_before_the_first_step_and_ends_with_the_model(filmed: Path) -> None:
    film = animate_training(filmed, Look(), 200)
    model = vaekit.load(filmed)
    with fixed_seed(0):
        samples = to_gray_levels(model.sample(32))
    last = lines_on(film.frames[-1], 6, 8, (1, 8, 8), [2], look=Look(size=200)).flatten(0, 1)
    assert (last[16:].int() - samples.int()).abs().float().mean() < 4  # as WebP keeps them
    first = lines_on(film.frames[0], 6, 8, (1, 8, 8), [2], look=Look(size=200)).flatten(0, 1)
    assert first[8:].float().std() < 20  # gray, as a network of random weights decodes
    assert (first[:8] == last[:8]).all()
    assert first[:8].float().std() > 60
    assert (film.durations[0], film.durations[-1]) == (FIRST, LAST)
    assert set(film.durations[1:-1]) == {33, 34}


def test_film_moves_from_step_to_step_without_jumps(filmed: Path) -> None:
    film = animate_training(filmed, Look(), 64)
    sheets = np.stack([np.asarray(frame, float)[:180] for frame in film.frames])
    moves = np.abs(np.diff(sheets, axis=0)).mean((1, 2))
    assert len(film.frames) == 12 * 15 + 1
    whole = np.abs(sheets[15::15] - sheets[:-1:15]).mean((1, 2))
    assert (moves.reshape(12, 15).max(1) < 0.2 * whole + 0.5).all()
    assert (moves.reshape(12, 15)[:, [0, -1]].mean(1) < moves.reshape(12, 15)[:, 7]).all()  # slow at both ends


def test_stopped_run_keeps_the_images_of_an_uninterrupted_one(tmp_path: Path, filmed: Path) -> None:
    class Stop(vaekit.Callback):
        def on_step(self, trainer: Any, logs: Any) -> None:
            if trainer.progress.step == 5:
                raise KeyboardInterrupt

    recipe = load_recipe("digits", SETTINGS | {"epochs": 2})
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "stopped", console=QUIET, callbacks=[Stop()])
    resume(tmp_path / "stopped", {}, console=QUIET)
    assert frames_of(tmp_path / "stopped") == frames_of(filmed)
    assert weights_equal(tmp_path / "stopped", filmed)


def test_other_channels_begin_the_film_anew(copy: Path) -> None:
    layout = copy / "images" / "film" / "film.json"
    layout.write_text(json.dumps(json.loads(layout.read_text()) | {"columns": 5}))
    assert vae("train", "--resume", copy, "--epochs", 3).code == 0
    assert steps_of(copy) == [16, 19, 21]
    assert json.loads(layout.read_text())["columns"] == 8


@pytest.mark.parametrize(("num", "rows"), [(1, 4), (16, 1)])
def test_films_of_large_images_have_fewer_rows(num: int, rows: int) -> None:
    assert film_layout((3 if num == 1 else num, 32, 32), num, 40, 10).sample_rows == rows
    assert film_layout((3, 512, 512), 1, 40, 10).columns == 3
    assert film_layout((1, 28, 28), 1, 2, 10).columns == 2


@pytest.mark.parametrize("num", [0, 1])
def test_film_needs_two_steps(num: int, copy: Path) -> None:
    for path in sorted((copy / "images" / "film").glob("step-*.webp"))[num:]:
        path.unlink()
    one_line(vae("animate", copy, "--training"), "images/film", "two", "train again")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("step-000000003.webp", b"no image"),
        ("input.webp", b""),
        ("film.json", b"[]"),
        ("film.json", b'{"tile": [1, 8, 8], "columns": "8"}'),
        ("film.json", b'{"tile": [1, 8, 8], "columns": 0, "num_tiles": 1, "sample_rows": 4, "steps_per_epoch": 7}'),
        ("film.json", b'{"tile": [1, 8, 9], "columns": 8, "num_tiles": 1, "sample_rows": 4, "steps_per_epoch": 7}'),
    ],
)
def test_damaged_film_is_named(name: str, content: bytes, copy: Path) -> None:
    (copy / "images" / "film" / name).write_bytes(content)
    with pytest.raises(RunError, match=r"images/film/(film.json|input.webp|step-000000003.webp): "):
        animate_training(copy, Look(), 64)


def test_command_writes_the_film(copy: Path) -> None:
    done("animate", copy, "--training", "--size", 64, "-o", copy / "x.webp")
    frames, durations = played(copy / "x.webp")
    assert abs(sum(durations) - (FIRST + LAST + 1000 * (12 * 15 - 1) / 30)) < 40
    with Image.open(copy / "x.webp") as image:
        assert image.info["loop"] == 0
    assert len(frames) > 20  # those that are the same after all are one
    assert RunFolder(copy).look_at(None).caption == "digits"
