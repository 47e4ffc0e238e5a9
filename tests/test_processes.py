"""Several processes: they compute what one computes, one of them writes, and none waits for one that has ended."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.commands import QUICK, newest_state, start, without_time
from tests.launched import free_port, launch, together
from vaekit.__main__ import main
from vaekit.core.errors import RunError
from vaekit.core.processes import (
    ProcessLost,
    add_up,
    any_process,
    is_main,
    join,
    num_processes,
    on_main,
    rank,
    replicate,
    require_same,
    require_same_tensors,
)
from vaekit.core.shares import average_gradients, average_logs, batch_mean, gather, share_of, sharing
from vaekit.core.terms import StepContext
from vaekit.data import Batch, load_images
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.experiment.prepare import build_model, make_trainer
from vaekit.experiment.train import resume, run
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training import STEPS, Callback, GradientStep, Step, StepSetup, Trainer, join_processes

QUIET = Console(quiet=True)
TOLERANCE = 2e-5
"""The largest relative difference of the history of runs that differ by rounding alone."""
ALONE = {"epochs": 1, "batch_size": 7, "optimizer": {"name": "sgd", "lr": 1.0}, "training.clip_norm": None}
NOT_LEARNED = {"name": "gaussian", "scale": 0.3}
IWAE = {"name": "iwae", "num_samples": 3}
CASES: dict[str, dict[str, Any]] = {
    "elbo": {},
    # the rates of some latents are above this floor in the whole batch and below it in a slice, or the reverse
    "free bits": {"objective": {"name": "elbo", "free_bits": 0.0019, "beta": 100.0, "num_samples": 2}},
    "capacity": {"objective": {"name": "elbo", "capacity": 3.0}},
    "perceptual": {"objective": {"name": "elbo", "perceptual": 50.0}},
    "importance-weighted": {"objective": IWAE},
    "doubly reparameterized": {"objective": {**IWAE, "gradient": "doubly-reparameterized"}},
    "sticking the landing": {"objective": {**IWAE, "gradient": "sticking-the-landing"}},
    "wake-sleep": {"objective": {"name": "wake-sleep"}, "model.likelihood": NOT_LEARNED},
    "wake-sleep of labels": {"objective": {"name": "wake-sleep"}, "conditional": True, "model.prior": {"name": "flow"}},
    "wake-sleep of a VampPrior": {
        "objective": {"name": "wake-sleep"},
        "model.prior": {"name": "vamp", "num_components": 5},
        "model.likelihood": {"name": "logistic-mixture"},
    },
    "Monte Carlo EM": {"step": {"name": "monte-carlo-em", "updates": 2}, "model.likelihood": NOT_LEARNED},
    "flow": {"model.posterior": {"name": "flow"}, "model.prior": {"name": "mixture-of-gaussians", "num_components": 5}},
    "codes": {
        "latent_dim": 12,
        "model.posterior": {
            "name": "residual-vq",
            "codes": 4,
            "quantizers": 2,
            "positions": 3,
            "gradient": "straight-through",  # what is left of a code of its own is 0, and has no direction
        },
        "model.prior": {"name": "transformer", "width": 8, "num_heads": 2, "dropout": 0.0},
    },
    "ladder": {  # some layers are above the free bits in the whole batch and below them in a slice
        "latent_dim": None,
        "model.encoder": {"name": "ladder", "channels": [4, 4, 4], "blocks": [1, 1, 1]},
        "model.posterior": {"name": "residual"},
        "model.prior": {"name": "flow"},
        "model.decoder": {"name": "ladder", "channels": [4, 4, 4], "layers": [0, 2, 1], "width": 2},
        "objective": {"name": "layered-elbo", "free_bits": 0.3, "balance": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.01},  # the first update of two is tested
    },
    "adversarial": {
        "objective": {"name": "adversarial", "width": 8, "num_samples": 2},
        "model.likelihood": {"name": "laplace"},
        "training.patience": None,
    },
    "bfloat16": {"precision": "bfloat16", "model.likelihood": NOT_LEARNED},
    "two losses": {"step": {"name": "two-losses"}},
}
"""Recipes on the digits; by default their scale is learned, in closed form."""


class TwoLosses(Step):
    """A step of a user that knows nothing of processes, with two losses, two optimizers and a layer of its own."""

    def __init__(self, setup: StepSetup) -> None:
        super().__init__(setup)
        self.modules["critic"] = torch.nn.Linear(64, 1)
        self.optimizers["critic"] = torch.optim.SGD(self.modules["critic"].parameters(), 1.0)

    def update(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        terms = self.model(batch.x, self.labels(batch))
        critic = self.modules["critic"]
        fooled = torch.nn.functional.softplus(-critic(terms.px.mean[0].flatten(1))).mean()
        norm = self.descend(self.objective(terms, context).value + fooled)
        found = torch.nn.functional.softplus(critic(terms.px.mean[0].detach().flatten(1))).mean()
        self.descend(found, "critic")
        return terms.logs() | {"loss": found.detach(), "fooled": fooled.detach(), "grad_norm": norm}


def trainer_of(overrides: dict[str, Any], num_images: int = 7) -> Trainer:
    """A trainer on the first digits."""
    images = load_images("digits", "train", size=8, channels=1).first(num_images)
    torch.manual_seed(1)
    brief = patch.multiple("vaekit.objectives.feature_learning", MIN_IMAGES=2, NUM_STEPS=3)
    with patch.dict(STEPS, {"two-losses": TwoLosses}), brief:
        recipe = load_recipe("digits", ALONE | overrides)
        return make_trainer(recipe, build_model(recipe, images), images, None, lambda model: {})


def first_update(overrides: dict[str, Any], num_images: int) -> dict[str, Tensor]:
    """The gradients that the optimizers use in the first update, the logs, and what is kept of it."""
    trainer = trainer_of(overrides, num_images)
    step, found = trainer.step, {}
    for name, optimizer in step.optimizers.items():

        def record(optimizer: Any, args: Any, kwargs: Any, name: str = name) -> None:
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            found.update({f"{name} {i}": p.grad.clone() for i, p in enumerate(weights) if p.grad is not None})

        optimizer.register_step_pre_hook(record)
    step.train()
    [batch] = trainer.batches
    logs = step(batch, StepContext(0.5))
    likelihood = step.model.likelihood.state_dict()  # with the learned scale
    kept = {f"likelihood {name}": value.clone() for name, value in likelihood.items()}
    kept |= {f"posterior {name}": value.clone() for name, value in step.model.posterior.named_buffers()}
    if hasattr(step, "z"):
        kept["chains"] = step.z
    kept["random"] = torch.get_rng_state()
    return {**found, **{f"log {name}": value for name, value in logs.items()}, **kept}


def write_first_updates(folder: Path, num_images: int) -> None:
    for name, overrides in CASES.items():
        found = {key: value.contiguous() for key, value in first_update(overrides, num_images).items()}
        save_file(found, folder / f"{name}-{rank()}")


@pytest.mark.parametrize(("num", "num_images"), [(2, 7), (3, 2)])
def test_the_gradient_of_a_step_does_not_depend_on_the_processes(num: int, num_images: int, tmp_path: Path) -> None:
    """Slices of 3 and 4 images, and three processes for two images."""
    together(num, write_first_updates, tmp_path, num_images)
    for name, overrides in CASES.items():
        expected = first_update(overrides, num_images)
        first = load_file(tmp_path / f"{name}-0")
        assert first.keys() == expected.keys()
        scale = max(float(value.abs().max()) for key, value in expected.items() if key.startswith("model"))
        assert scale > 0.01
        for key, value in expected.items():
            tolerance = 2e-6 if name != "bfloat16" else 1e-2
            largest = max(scale, float(value.double().abs().max()))
            assert float((first[key].double() - value.double()).abs().max()) <= tolerance * largest, (name, key)
        assert torch.equal(first["random"], expected["random"]), name
        for other in range(1, num):
            assert all(torch.equal(value, first[key]) for key, value in load_file(tmp_path / f"{name}-{other}").items()), (
                name
            )


# Means and sums


def check_means() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], dtype=torch.float64)
    share = share_of(7)
    assert share is not None
    theta = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    with sharing(share):
        own = theta * share.of(values)
        mean = batch_mean(own)
        loss = (mean - 5) ** 2 + batch_mean((own - mean) ** 2).sqrt() + theta**3  # one loss of all, with a term of its own
        loss.backward()
        assert theta.grad is not None
        local = theta.grad.clone()
        average = average_gradients([theta], loss)
        logs = average_logs({"mean": own.detach().mean(), "three": torch.tensor(3.0, dtype=torch.float64)})
        assert torch.equal(gather(share.of(values)), values)
    m, s = values.mean(), values.std(correction=0)
    torch.testing.assert_close(float(mean), float(3 * m))
    torch.testing.assert_close(float(average), float((3 * m - 5) ** 2 + 3 * s + 27))
    torch.testing.assert_close(float(theta.grad), float(2 * (3 * m - 5) * m + s + 27))
    torch.testing.assert_close([float(logs["mean"]), float(logs["three"])], [float(3 * m), 3.0])
    assert float(local) != float(theta.grad)


@pytest.mark.parametrize("num", [2, 3])
def test_means_over_the_batch_have_the_value_and_gradient_of_closed_forms(num: int) -> None:
    """Also the standard deviation, whose inner mean is used in every process with other values."""
    together(num, check_means)


def check_agreement(folder: Path) -> None:
    assert (num_processes(), is_main()) == (2, rank() == 0)
    assert any_process(rank() == 1)
    assert not any_process(False)
    assert add_up(torch.tensor([1.0, rank()])).tolist() == [2.0, 1.0]
    tensors = [torch.full((2, 2), float(rank() + 5)), torch.tensor(rank() + 7)]
    require_same("a text", "the same")
    require_same_tensors("the tensors", [torch.arange(3.0), torch.tensor(4)])
    for differing in (lambda: require_same("the recipe", str(rank())), lambda: require_same_tensors("the weights", tensors)):
        with pytest.raises(RunError, match="differ"):
            differing()
    replicate(tensors)
    assert [tensor.flatten().tolist() for tensor in tensors] == [[5.0] * 4, [7]]
    on_main(lambda: (folder / f"by {rank()}").touch())
    assert [path.name for path in folder.iterdir()] == ["by 0"]
    with pytest.raises(FileExistsError if is_main() else ProcessLost):
        on_main(folder.mkdir)
    critic = torch.nn.Linear(1, 1)
    with pytest.raises(RunError, match=r"the weights: differ.*descend"):
        move_without_descend(critic)


def move_without_descend(critic: torch.nn.Module) -> None:
    """Two epochs of a step that moves a layer by what each process has of its images alone."""
    trainer = trainer_of({})
    trainer.step.modules["critic"] = critic
    trainer.step.train()
    for parameter in critic.parameters():
        parameter.data += rank()
    trainer.step.train()


def test_processes_agree(tmp_path: Path) -> None:
    together(2, check_agreement, tmp_path)


def write_bounds(folder: Path) -> None:
    trainer = trainer_of({"conditional": True, "model.prior": {"name": "flow"}})
    digits = load_images("digits", "test", size=8, channels=1)
    with patch("vaekit.models.VAE.chunk_size", 40):  # nine batches
        values = bound_values(trainer.averaged_model, digits, shared=True)
    (folder / f"{num_processes()}-{rank()}").write_text(json.dumps(values))


def test_validation_has_the_numbers_of_one_process(tmp_path: Path) -> None:
    """Bit for bit: the processes compute whole batches in turn."""
    write_bounds(tmp_path)
    together(3, write_bounds, tmp_path)
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(texts) == ["1-0", "3-0", "3-1", "3-2"]
    assert len(set(texts.values())) == 1
    assert json.loads(texts["1-0"])["rate"] > 0.01


# Whole runs

RUN = {
    "epochs": 3,
    "seed": 3,
    "data.augment": {"flip": 0.5, "shift": 0.1, "jitter": 0.2},
    "data.binarize": "dynamic",
    "model.likelihood": {"name": "bernoulli"},
    "scheduler": {"name": "constant"},
    "training.clip_norm": 30.0,
    "training.images_every": 1000,
    "evaluation.num_samples": 0,
    "evaluation.max_images": 20,
}


@contextmanager
def watched(log: Path) -> Iterator[None]:
    """Logs every file that this process writes, removes or renames below the folder of the log, and what it prints."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        path = str(arguments[0]) if arguments else ""
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (
            watching
            and (writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"))
            and path.startswith(f"{log.parent}{os.sep}")
        ):
            events.append(f"{event} {path}")

    events: list[str] = []
    watching = True
    sys.addaudithook(note)
    printed = os.open(log.with_suffix(".printed"), os.O_WRONLY | os.O_CREAT)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    events.clear()
    try:
        yield
    finally:
        watching = False
        sys.stdout.flush()
        sys.stderr.flush()
        log.write_text("\n".join(events))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    return run(load_recipe("digits", RUN), tmp_path_factory.mktemp("alone") / "run", console=QUIET).folder


def train_on_several(folder: Path, overrides: dict[str, Any]) -> None:
    with watched(folder.parent / f"{folder.name}-{os.environ['RANK']}.log"):
        run(load_recipe("digits", overrides), folder)


def worst_difference(a: Path, b: Path) -> float:
    """The largest relative difference of two histories; all that is no number to be rounded must be equal."""
    worst = 0.0
    first, second = (RunFolder(folder).history for folder in (a, b))
    for x, y in zip(map(without_time, first), map(without_time, second), strict=True):
        assert [x[key] for key in ("epoch", "step", "images_seen", "lr", "best")] == [
            y[key] for key in ("epoch", "step", "images_seen", "lr", "best")
        ]
        pairs = [(x["grad_norm"], y["grad_norm"])]
        pairs += [(x[part][key], y[part][key]) for part in ("train", "valid") for key in x[part]]
        worst = max(worst, *(abs(p - q) / max(abs(p), 1e-3) for p, q in pairs))
    return worst


@pytest.mark.parametrize("num", [2, 3])
def test_a_run_does_not_depend_on_the_number_of_processes(num: int, alone: Path, tmp_path: Path) -> None:
    """The differences are those of float32 sums in another order. Only process 0 writes and prints."""
    folder = tmp_path / "run"
    assert launch(num, train_on_several, folder, RUN) == [0] * num
    assert worst_difference(alone, folder) < TOLERANCE
    values = [RunFolder(path).metrics["elbo"]["value"] for path in (alone, folder)]
    assert values[0] == pytest.approx(values[1], rel=TOLERANCE)
    assert (folder / "report.html").exists()
    logs = [(tmp_path / f"run-{other}.log").read_text() for other in range(num)]
    printed = [(tmp_path / f"run-{other}.printed").read_text() for other in range(num)]
    assert f"{folder / 'metrics.jsonl'}" in logs[0]
    assert re.search(r"^ +3/3 ", printed[0], re.M)
    assert logs[1:] == printed[1:] == [""] * (num - 1)


class Called(Callback):
    """Writes a file that names the process in which it is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        (self.folder / f"called by {os.environ['RANK']}").touch()


def continue_on_several(folder: Path, overrides: dict[str, Any]) -> None:
    resume(folder, overrides, QUIET, callbacks=[Called(folder.parent)])


def test_a_run_goes_on_with_more_processes(alone: Path, tmp_path: Path) -> None:
    run(load_recipe("digits", RUN | {"epochs": 1}), tmp_path / "run", console=QUIET)
    assert launch(2, continue_on_several, tmp_path / "run", {"epochs": 3}) == [0, 0]
    assert worst_difference(alone, tmp_path / "run") < TOLERANCE
    assert [path.name for path in tmp_path.glob("called by *")] == ["called by 0"]


def signal_the_second(recipe: Path, folder: Path, number: signal.Signals) -> None:
    """Runs the command, and sends a signal to the second process in its 30th step."""
    update, steps = GradientStep.update, [0]

    def signaled(step: GradientStep, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        steps[0] += 1
        if rank() == 1 and steps[0] == 30:
            os.kill(os.getpid(), number)
        return update(step, batch, context)

    os.dup2(os.open(folder.parent / f"err-{os.environ['RANK']}", os.O_WRONLY | os.O_CREAT), 2)
    command = ["vae", "train", str(recipe), "--out", str(folder)]
    with patch.object(GradientStep, "update", signaled), patch.object(sys, "argv", command):
        main()


def test_all_processes_stop_in_the_step_in_which_one_is_asked_to(alone: Path, tmp_path: Path) -> None:
    """One process goes on with the run, from the middle of an epoch."""
    folder = tmp_path / "run"
    assert launch(2, signal_the_second, alone / "recipe.yaml", folder, signal.SIGTERM) == [143, 143]
    [line] = (tmp_path / "err-0").read_text().splitlines()
    assert line.startswith("stopped in epoch 2, after step 30; go on with: vae train --resume")
    assert (tmp_path / "err-1").read_text() == ""
    assert newest_state(folder)["progress"]["step"] == 30
    resume(folder, {}, QUIET)
    assert worst_difference(alone, folder) < TOLERANCE


def test_a_process_that_dies_ends_the_run_with_a_line(alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert launch(2, signal_the_second, alone / "recipe.yaml", folder, signal.SIGKILL, timeout=60) == [2, -9]
    [line] = (tmp_path / "err-0").read_text().splitlines()
    assert line.startswith("vae: rank 0 of 2 processes stopped, because another ended")
    assert line.endswith(f"go on with: vae train --resume {folder}")
    assert newest_state(folder)["progress"]["epoch"] == 1


# Mistakes


def refused(*command: object, **environment: str) -> str:
    """The one line with which a command fails."""
    _, err = (process := start(*command, **environment)).communicate(timeout=60)
    assert process.returncode == 2, err
    [line] = err.splitlines()
    return line


def test_variables_of_a_launcher_without_one_are_a_line(tmp_path: Path) -> None:
    command = ("train", "digits", *QUICK, "--out", tmp_path / "run")
    assert "MASTER_ADDR is not; start several processes with torchrun" in refused(*command, RANK="0", WORLD_SIZE="2")
    assert "WORLD_SIZE='many' in the environment" in refused(*command, RANK="0", WORLD_SIZE="many")
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert "RANK=2 in the environment is not below WORLD_SIZE=2" in refused(*command, RANK="2", MASTER_PORT="1", **launched)
    assert "MASTER_PORT=99999 in the environment is no port" in refused(*command, RANK="0", MASTER_PORT="99999", **launched)
    assert "MASTER_PORT='http' in the environment" in refused(*command, RANK="0", MASTER_PORT="http", **launched)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_nobody_waits_for_processes_that_do_not_come(
    rank: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("vaekit.core.processes.JOIN_TIMEOUT", timedelta(seconds=1))
    monkeypatch.setattr("vaekit.core.processes.PATIENCE", 0.1)
    with pytest.raises(RunError, match="did not find each other"):
        join("gloo")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"RANK={rank} waits at 127.0.0.1:{variables['MASTER_PORT']} for the others of WORLD_SIZE=2; if")


def test_devices_that_several_processes_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match="no cuda"):
        join_processes("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(RunError, match=r"process 3 .* has no GPU, there are 2 \(CUDA_VISIBLE_DEVICES=0,1\)"):
        join_processes("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(RunError, match="mps"):
        join_processes("auto")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RunError, match="FSDP"):
        join_processes("cpu")


def commands_of_two(folder: Path, trained: Path, **environment: str) -> list[tuple[str, str, int]]:
    """What ``vae sample`` prints and returns in two processes that have the variables of a launcher."""
    outputs = []
    for number in range(2):
        command = ("sample", trained, "-o", folder / f"{number}.png")
        process = start(*command, RANK=str(number), WORLD_SIZE="2", **environment)
        outputs.append((*process.communicate(timeout=60), process.returncode))
    return outputs


ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_other_commands_run_in_the_first_process_only(trained: Path, tmp_path: Path) -> None:
    first, second = commands_of_two(tmp_path, trained, **ADDRESS, TORCHELASTIC_RUN_ID="none")
    assert first[1:] == ("", 0)
    assert second == ("", "", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_a_process_that_does_nothing_says_so_where_the_variables_may_be_left_over(trained: Path, tmp_path: Path) -> None:
    first, second = commands_of_two(tmp_path, trained, **ADDRESS)
    assert first[1:] == ("", 0)
    assert second[0] == ""
    assert second[1].startswith("vae: RANK=1 does nothing, process 0 does it")
    assert second[1].endswith("remove RANK and WORLD_SIZE from the environment\n")
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_variables_without_an_address_are_of_no_launcher_and_change_nothing(trained: Path, tmp_path: Path) -> None:
    outputs = commands_of_two(tmp_path, trained)
    assert [output[1:] for output in outputs] == [("", 0)] * 2
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
