"""Benchmarks: every method trains the same network with the stated settings, and the README states those settings."""

import re
from pathlib import Path

import pytest
import torch
from benchmarks import training_methods
from benchmarks.training import TARGETS, build_methods, check_losses, check_parameters, compare, format_table, run_rounds
from benchmarks.training_methods import BATCH_SIZE, FAMILIES, LEARNING_RATE, METHODS, RECIPE, Epoch, settings

from vaekit.data import ImageSet
from vaekit.runs.recipe import load_recipe

BENCHMARKS = Path(training_methods.__file__).parent
README = BENCHMARKS / "README.md"
TESTED = ["tensor-loop", "tensor-loop-fused", "dataloader-0"]


def images(num: int) -> ImageSet:
    """Squares at two positions, which a network learns in a few epochs."""
    pixels = torch.zeros(num, 1, 28, 28, dtype=torch.uint8)
    pixels[::2, :, 4:14, 4:14] = 255
    pixels[1::2, :, 14:24, 14:24] = 255
    return ImageSet(pixels, name="squares")


def test_stated_settings_are_those_of_the_recipe() -> None:
    recipe = load_recipe(RECIPE)
    assert (recipe.training.batch_size, recipe.optimizer["lr"]) == (BATCH_SIZE, LEARNING_RATE)
    assert settings() == f"batch size {BATCH_SIZE}, Adam, learning rate {LEARNING_RATE}, float32, CPU"
    assert f"Settings: {settings()}." in " ".join(README.read_text().split())


def test_every_stated_learning_rate_and_batch_size_is_the_constant() -> None:
    """A number in a docstring or in the README cannot differ from the code."""
    for path in [BENCHMARKS / "training.py", BENCHMARKS / "training_methods.py", BENCHMARKS / "pythae_method.py"]:
        text = " ".join(path.read_text().split())
        assert re.findall(r"learning[ _]rate[ =]+(?:of )?([\d.]+(?:e-\d+)?)", text) == [], path
    training = " ".join(README.read_text().split()).partition("## Training")[2].partition(" ## ")[0]
    assert {float(number) for number in re.findall(r"learning rate ([\d.e-]+\d)", training)} == {LEARNING_RATE}
    assert {int(number) for number in re.findall(r"batch size (\d+)", training)} == {BATCH_SIZE}


@pytest.fixture(scope="module")
def methods() -> dict[str, training_methods.TrainingMethod]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.training.training_images", images)
        return build_methods(TESTED, 512)


def test_all_methods_train_the_same_network_with_the_same_settings(
    methods: dict[str, training_methods.TrainingMethod],
) -> None:
    assert list(methods) == ["vaekit", *TESTED]
    check_parameters(methods)
    for name, method in methods.items():
        optimizer = method.trainer.step.optimizers["model"] if name == "vaekit" else method.optimizer
        assert type(optimizer) is torch.optim.Adam, name
        assert {group["lr"] for group in optimizer.param_groups} == {LEARNING_RATE}, name
    assert methods["vaekit"].trainer.batches.batch_size == methods["dataloader-0"].loader.batch_size == BATCH_SIZE


def test_all_methods_learn(methods: dict[str, training_methods.TrainingMethod]) -> None:
    epochs = run_rounds(methods, 3)
    check_losses(epochs)
    assert all(epoch.seconds > 0 for rounds in epochs.values() for epoch in rounds)
    first = [rounds[0].loss for rounds in epochs.values()]
    assert max(first) / min(first) < 1.5  # the same loss, in nats per image, after the same number of steps
    assert format_table(compare(epochs, 512)).count("\n") == len(methods)


def test_loss_that_does_not_decrease_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"slow.*loss"):
        check_losses({"slow": [Epoch(1.0, 100.0), Epoch(1.0, 100.0)]})


def test_ratio_is_per_round_and_the_faster_variant_has_the_target() -> None:
    seconds = {"vaekit": (9, 1, 2, 4), "tensor-loop": (9, 2, 2, 2), "tensor-loop-fused": (9, 1, 1, 1)}
    results = compare({name: [Epoch(s, 1.0) for s in values] for name, values in seconds.items()}, 100)
    assert results["vaekit"].speeds == [100.0, 50.0, 25.0]  # without the warm-up
    assert results["tensor-loop"].ratios == [2.0, 1.0, 0.5]
    assert results["tensor-loop-fused"].ratios == [1.0, 0.5, 0.25]
    assert [result.target for result in results.values()] == [None, None, TARGETS["tensor-loop"]]
    assert results["tensor-loop-fused"].meets_target is False
    assert [name for variants in FAMILIES.values() for name in variants] == list(METHODS)


def test_every_benchmark_is_in_the_readme() -> None:
    text = README.read_text()
    commands = [path.stem for path in BENCHMARKS.glob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert len(commands) >= 6
    assert [name for name in commands if f"python -m benchmarks.{name}" not in text] == []
