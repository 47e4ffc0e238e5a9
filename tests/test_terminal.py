"""The terminal: what a command imports, what training prints and how wide, progress without a terminal, and outputs."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from tests.commands import QUICK, Refuse, done, start, vae
from vaekit.core import progress
from vaekit.core.processes import is_main
from vaekit.core.progress import clock, track, working, wrapped
from vaekit.evaluation.evaluation_result import METRICS
from vaekit.experiment.forecast import forecast
from vaekit.experiment.outcome import epoch_lines
from vaekit.experiment.prepare import prepare
from vaekit.plots.animation import Animation
from vaekit.runs.recipe import load_recipe
from vaekit.training.epoch_table import LEGEND, EpochTable

WIDTH = 78
"""The largest width of a line of training."""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""What a terminal does not show."""


def imported(*args: object) -> tuple[int, str, set[str]]:
    """The exit code of a command in a process of its own, its last line on stderr, and the modules that it imported."""
    process = start(*args, PYTHONPROFILEIMPORTTIME="1")
    _, errors = process.communicate(timeout=120)
    lines = errors.splitlines()
    modules = {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}
    said = [line for line in lines if not line.startswith("import time:")]
    return process.returncode, said[-1] if said else "", modules


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train", "digitz"], "digitz: no such recipe (did you mean 'digits'?)"),
        (["train", "--set", "modle.latent_dim=3"], "modle: unknown key (did you mean 'model'?)"),
        (["train", "--set", "model.encoder.hiden=[3]"], "model.encoder.hiden: unknown key (did you mean 'hidden'?)"),
        (["train", "--set", "model.prior.name=vamq"], "unknown name 'vamq' (did you mean 'vamp'?)"),
        (["train", "--set", "training.epochs=-1"], "training.epochs: "),
        (["train", "--precision", "fp64"], "fp64"),
        (["train", "--set", "model.latent_dim=-1"], "model.latent_dim: input should be greater than 0, got -1"),
        (["train", "--data", "nosuch"], "nosuch: no such path, data set or hub id"),
        (["train", "--background", "greenish"], "not a color"),
        (["train", "--set", "training.epochs=true"], "training.epochs: input should be a number, got true"),
        (["sample", "./nowhere"], "nowhere: no such run or model folder"),
        (["train", "--resume", "runs/nowhere"], "runs/nowhere: no such run folder, so there is nothing to resume"),
        (["train", "--from", "./nowhere"], "nowhere: no such run or model folder"),
        (["curves", "nowhere/at/all"], "nowhere/at/all: no such run or model folder"),
        (["sample", "runs/nowhere"], "runs/nowhere: no such run or model folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_refusal_imports_no_torch(args: list[str], says: str) -> None:
    code, line, modules = imported(*args)
    assert code == 2
    assert says in line
    assert "vaekit.cli" in modules
    assert "torch" not in modules


def test_recipes_and_curves_import_no_torch(trained: Path, tmp_path: Path) -> None:
    for args in (["recipes"], ["curves", trained, "-o", tmp_path / "curves.png"]):
        code, _, modules = imported(*args)
        assert code == 0
        assert "torch" not in modules
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_a_plot_of_samples_imports_only_what_it_needs(trained: Path, tmp_path: Path) -> None:
    code, _, modules = imported("sample", trained, "-o", tmp_path / "samples.png")
    assert code == 0
    assert "torch" in modules
    assert not modules & {"accelerate", "torchmetrics", "scipy", "sklearn", "jinja2", "torch._dynamo", "zuko", "kornia"}


def record(epoch: int, *, best: bool = False, **values: float) -> dict[str, object]:
    """The record of an epoch."""
    train = {"loss": 2.5, "elbo": -2.5, "beta": values.get("beta", 1.0)}
    valid = {"elbo": values.get("elbo", -3.0), "distortion": values.get("distortion", 1.0), "rate": 2.0}
    lr = values.get("lr", 1e-3)
    return {"epoch": epoch, "train": train, "valid": valid, "lr": lr, "images_per_second": 1234.6, "best": best}


def test_epochs_are_aligned_under_their_header() -> None:
    table = EpochTable(50)
    legend, header = table.header(record(1))
    first, second = table.line(record(1, best=True)), table.line(record(10, elbo=-12.5))
    assert "* best so far" in legend
    for name, value in {"valid ELBO": "-3.00", "distortion": "1.00", "rate": "2.00", "images/s": "1,235"}.items():
        assert header.index(name) + len(name) == first.index(value) + len(value)
    assert "-3.00*" in first
    assert "*" not in second
    assert second.index("-12.50") + 6 == first.index("-3.00") + 5


def test_weight_and_learning_rate_are_written_where_they_change() -> None:
    table = EpochTable(9)
    lines = [
        table.line(record(epoch, beta=beta, lr=lr)) for epoch, beta, lr in ((1, 0.5, 1e-3), (2, 0.5, 1e-3), (3, 1.0, 9e-4))
    ]
    assert lines[0].split()[-2:] == ["0.5", "1.0e-03"]
    assert lines[1].split()[-1] == "1,235"
    assert lines[2].split()[-2:] == ["1", "9.0e-04"]


@pytest.mark.parametrize("value", [-123_456.789, 1e12, -0.001, float("nan"), float("-inf")])
def test_no_epoch_is_wider_than_a_terminal(value: float) -> None:
    table = EpochTable(100_000)
    lines = [
        *table.header(record(1)),
        table.line(record(99_999, best=True, elbo=value, distortion=value, beta=0.00123, lr=1e-10)),
    ]
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1].count("*") == 1


def on_terminal(columns: int, *args: object) -> list[str]:
    """The lines that a command shows on a terminal of so many columns; frames of bars are lines, too."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vaekit", *map(str, args)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(60) == 0, shown.decode()
    os.close(master)
    return [line for line in re.split(r"[\r\n]+", ESCAPES.sub("", shown.decode())) if line.strip()]


@pytest.mark.parametrize("columns", [80, 120])
def test_training_fits_a_terminal(columns: int, tmp_path: Path) -> None:
    quick = ("--epochs", 6, "--set", "evaluation.num_samples=0", "--no-report")
    lines = on_terminal(columns, "train", "digits", *quick, "--out", tmp_path / "run")
    paths = [line for line in lines if str(tmp_path) in line]
    assert max(cell_len(line) for line in lines if line not in paths) <= columns
    assert LEGEND in lines
    epochs = [line for line in lines if re.match(r" +\d/6 ", line)]
    assert len({line.split()[0] for line in epochs}) == 6
    bars = [line for line in lines if "━" in line and "epoch" in line]
    assert all(re.match(r" ?\d+:\d\d left", bar) for bar in bars)
    text = " ".join(" ".join(lines).split())
    for whole in (
        "1,294 1x8x8 images of digits to train on, 144 to validate, 359 to test",
        "log-density of pixels scaled to [0, 1], support: real line; it may be positive",
        "kept epoch 6 of 6, the best by validation ELBO",
    ):
        assert whole in text
    assert not (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_words_and_paths_stay_whole() -> None:
    assert wrapped("a bb  ccc", 80) == ["a bb  ccc"]
    assert wrapped("one two three", 8) == ["one two", "  three"]
    path = "/a/very/long/path/of/a/run"
    assert wrapped(f"report {path}", 12) == ["report", f"  {path}"]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3_725, "1:02:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_long_work_without_a_terminal_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.05)
    monkeypatch.setattr(progress, "LINE_SECONDS", 3600.0)

    def until_said(num: int) -> None:
        limit = time.monotonic() + 30
        said.append(capsys.readouterr().err)
        while "".join(said).count("\n") < num and time.monotonic() < limit:
            time.sleep(0.01)
            said.append(capsys.readouterr().err)

    said: list[str] = []
    for item in track(range(4), "counting"):
        if item == 2:
            until_said(1)
    with working("thinking"):
        until_said(2)
    first, second = "".join(said).splitlines()
    assert re.fullmatch(r"counting: [0-2] of 4(, about \d+:\d\d left)?", first)
    assert re.fullmatch(r"thinking: 0:\d\d so far", second)


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_what_is_over_in_a_second_is_not_shown(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(progress, "SHOWN_SECONDS", seconds)
    monkeypatch.setattr(
        progress, "Console", lambda **_: Console(file=shown, force_terminal=True, color_system=None, width=80)
    )
    seen = []
    for item in track(range(3), "counting files"):
        seen.append(item)
        time.sleep(0.2 * (seconds == 0.0))
    with working("thinking"):
        time.sleep(0.2 * (seconds == 0.0))
    assert seen == [0, 1, 2]
    assert ("counting files" in shown.getvalue()) == (seconds == 0.0)
    assert ("thinking" in shown.getvalue()) == (seconds == 0.0)
    assert shown.getvalue() or seconds


def test_a_bar_ends_with_what_it_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHOWN_SECONDS", 0.0)
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=io.StringIO(), force_terminal=True))
    before = threading.active_count()
    items = track(range(3), "counting")
    next(items)
    time.sleep(0.1)
    assert isinstance(items, Generator)
    items.close()  # as where a loop is left early
    limit = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < limit:  # the thread of a bar ends soon after it
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".mp4"])
def test_a_film_of_any_format_shows_its_progress(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    said: list[str] = []

    def tracked(items: Sequence[Image.Image], description: str, total: int) -> Iterator[Image.Image]:
        said.append(description)
        yield from items
        assert total == len(items)

    monkeypatch.setattr("vaekit.plots.animation.track", tracked)
    frames = [Image.new("RGB", (32, 32), (60 * level, 0, 0)) for level in range(4)]
    Animation(frames, [100] * 4).save(tmp_path / f"film{suffix}")
    assert said == ["writing 4 frames"]


def test_a_forecast_changes_nothing(tmp_path: Path) -> None:
    assert is_main()
    experiment = prepare(load_recipe("digits", {"epochs": 10}))
    before = [weight.clone() for weight in experiment.model.parameters()]
    state = torch.get_rng_state()
    found = forecast(experiment)
    assert found.seconds is not None
    assert 0 < found.seconds < 600
    weights = 4 * sum(weight.numel() for weight in before)
    assert 11 * weights < found.num_bytes < 11 * weights + 5_000_000
    assert re.fullmatch(r"about \d+:\d\d to train, or less if it stops early; about \d MB", str(found))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, experiment.model.parameters(), strict=True))
    assert all(weight.grad is None for weight in experiment.model.parameters())


def test_whether_more_epochs_help() -> None:
    assert list(epoch_lines(42, 50, 50)) == [
        "ended after all 50 epochs",
        "kept epoch 42 of 50, the best by validation ELBO",
        "it has not risen since: more epochs would not help",
    ]
    *_, advice = epoch_lines(49, 50, 50)
    assert advice.endswith("more epochs may help:")  # the command follows on a line of its own


@pytest.mark.parametrize("best", [290, 298])
def test_early_stopping_is_told(best: int) -> None:
    why, kept, advice = epoch_lines(best, 300, 500)
    assert why == f"stopped early after epoch 300 of 500: no better validation ELBO since epoch {best}"
    assert kept == f"kept epoch {best} of 300, the best by validation ELBO"
    assert "would not help" in advice


@pytest.mark.parametrize("command", ["sample", "curves", "embed"])
def test_a_file_goes_to_the_standard_output(command: str, trained: Path) -> None:
    args = [sys.executable, "-m", "vaekit", command, str(trained), "-o", "-"]
    written = subprocess.run(args, capture_output=True, check=True, timeout=120).stdout
    assert str(trained).encode() not in written
    if command == "embed":
        assert written.count(b"\n") == 1798  # a head, and a row for each image
    else:
        assert written.startswith(b"\x89PNG")
        assert len(written) > 2_000


def test_the_folder_of_an_output_is_made(trained: Path, tmp_path: Path, refuse: Refuse) -> None:
    target = tmp_path / "a" / "b" / "curves.svg"
    done("curves", trained, "-o", target)
    assert "<svg" in target.read_text(encoding="utf-8")
    refuse("curves", trained, "-o", target / "c.svg", says=("curves.svg is a file, not a folder",))


@pytest.mark.parametrize("typed", ["run/first", "runs/frist", "first", "./runs/firs"])
def test_a_misspelled_run_is_suggested(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "recipe.yaml").touch()
    monkeypatch.chdir(tmp_path)
    outcome = vae("sample", typed)
    assert outcome.code == 2
    assert "did you mean 'runs/first'?" in outcome.err


def test_precisions_have_short_names() -> None:
    assert load_recipe("digits", {"precision": "bf16"}).training.precision == "bfloat16"
    assert load_recipe("digits", {"precision": "fp32"}).training.precision == "float32"
    help_text = done("train", "--help")
    for choice in ("fp32", "bf16", "cuda", "mps"):
        assert choice in help_text


def test_commands_are_grouped() -> None:
    groups = re.findall(r"^([A-Z]\w+)$", done("--help"), re.MULTILINE)
    assert groups == ["Train", "Look", "Measure", "Share", "Options"]


def test_expected_metrics_are_those_of_the_package() -> None:
    for name in ("digits", "images", "mnist-2d"):
        assert set(load_recipe(name).expected) <= set(METRICS)


def test_no_report(tmp_path: Path) -> None:
    args = ("train", "digits", *QUICK, "--out", tmp_path / "run", "--no-report")
    first = done(*args)
    assert "report" not in {line.split()[0] for line in first.splitlines() if line.strip()}
    assert "finished after 1 epoch" in done(*args)
    assert not (tmp_path / "run" / "report.html").exists()
    done(*args[:-1])
    assert (tmp_path / "run" / "report.html").is_file()
