"""What happens to a run whose folder is locked: it is begun or continued, announced, trained and finished."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vaekit.core.command_text import anew_command
from vaekit.core.config import to_data
from vaekit.core.errors import Diverged, Interrupted, RunError
from vaekit.core.processes import ProcessLost, is_main, leave, on_main, require_same
from vaekit.core.progress import print_command, print_line
from vaekit.core.rng import fixed_seed
from vaekit.core.signals import StopSignal
from vaekit.experiment.finish import finish, is_finished
from vaekit.experiment.forecast import forecast
from vaekit.experiment.outcome import early_stop
from vaekit.experiment.place import (
    begin_errors,
    has_run,
    how_to_go_on,
    is_cleaned,
    open_checkpoints,
    refuse_links,
    refuse_other_folder,
    refuse_other_images,
    refuse_other_labels,
    remember_sources,
    run_classes,
    write_errors,
)
from vaekit.experiment.prepare import Experiment, with_lr
from vaekit.experiment.run_writer import RunWriter, begin_folder, fingerprints, label_facts, num_parameters
from vaekit.runs.migration import migrate
from vaekit.runs.recipe import Recipe, write_recipe
from vaekit.runs.replacement import clear, restore
from vaekit.runs.run_folder import RECIPE, RunFolder
from vaekit.training import Trainer, progress_view


def go_on(
    folder: Path,
    recipe: Recipe,
    prepared: Callable[..., Experiment],
    console: Console,
    *,
    moved: Sequence[str] = (),
    lr: Any = None,
    by_name: bool = False,
    dry_run: bool = False,
    report: bool = True,
) -> RunFolder:
    """Continues the run of a folder.

    Arguments:
        folder: The run folder, whose lock is held.
        recipe: The recipe, with the changes that a run may get.
        prepared: Prepares the experiment.
        console: Where progress is printed.
        moved: Where its images are now, if they have moved.
        lr: Its learning rate from now on; None to keep it.
        by_name: Whether the run is continued because its recipe was trained again, without a word of resuming.
        dry_run: Whether to train nothing.
        report: Whether to plot the learning curves and write the report at the end.

    Raises:
        VaekitError: If the run cannot go on.
    """
    refuse_links(folder)
    with write_errors(folder):
        on_main(lambda: migrate(folder))
    if is_cleaned(folder, recipe):
        _say_finished(folder, "finished, and its checkpoints were removed (vae clean)", by_name, console)
        return RunFolder(folder)
    state = open_checkpoints(folder).read()
    with fixed_seed(recipe.training.seed):
        experiment = same_everywhere(prepared(classes=run_classes(folder, recipe), begins=False))
        source = " and ".join(moved or recipe.data.sources)
        refuse_other_images(folder, fingerprints(experiment.splits), source)
        refuse_other_labels(folder, label_facts(experiment), source)
        if moved and not dry_run:
            on_main(lambda: remember_sources(folder, moved))
        experiment.trainer.load_state_dict(state)
        experiment = experiment if lr is None else with_lr(experiment, lr)
        progress = experiment.trainer.progress
        if is_finished(experiment, folder, report=report):
            _say_finished(folder, _how_finished(experiment.trainer), by_name, console)
            return RunFolder(folder)
        announce(experiment, folder, console)
        if dry_run:
            return RunFolder(folder)
        console.print(f"resumed after {progress.epoch} epochs, step {progress.step:,}", highlight=False)
        with write_errors(folder):
            on_main(lambda: write_recipe(experiment.recipe, folder / RECIPE))
        return carry_out(experiment, folder, console, report)


def _how_finished(trainer: Trainer) -> str:
    """How a training came to its end, and which option would let it go on."""
    progress, config = trainer.progress, trainer.config
    if progress.epoch < config.epochs and config.patience is not None:
        why = early_stop(progress.best_epoch, progress.epoch, config.epochs)
        return f"finished, {why}; --set training.patience={2 * config.patience} goes on"
    return f"finished after {progress.epoch} epoch{'s' * (progress.epoch != 1)}; --epochs goes on with more"


def _say_finished(folder: Path, what: str, by_name: bool, console: Console) -> None:
    """Says that nothing is left to do, and how to train anew; ``--resume`` does not go together with ``--force``."""
    if by_name:
        print_line(f"{folder}: {what}; --force trains anew", console)
    else:
        print_line(f"{folder}: {what}; to train anew:", console)
        print_command(anew_command(folder), console)


def same_everywhere(experiment: Experiment) -> Experiment:
    """The experiment, if all processes train the same recipe on the same images."""
    data = [to_data(experiment.recipe), fingerprints(experiment.splits)]
    require_same("the recipe or the data", json.dumps(data))
    return experiment


def begin(experiment: Experiment, folder: Path, console: Console, force: bool) -> None:
    """Begins a run in a folder whose lock is held."""
    refuse_other_folder(folder)
    if has_run(folder) and not force:
        raise RunError(f"{folder}: another process has begun a run there; choose another with --out")
    announce(experiment, folder, console)
    with begin_errors(folder):
        begin_folder(experiment, folder)


def announce(experiment: Experiment, folder: Path, console: Console) -> None:
    """Prints the data, the model and the device of a run, and what it will take."""
    recipe, splits, trainer = experiment.recipe, experiment.splits, experiment.trainer
    shape = "x".join(str(side) for side in experiment.model.shape)
    print_line(
        f"{recipe.name}: {len(splits.train):,} {shape} images of {splits.train.name} to train on, "
        f"{len(splits.valid):,} to validate, {len(splits.test):,} to test",
        console,
    )
    print_line(
        f"{experiment.model.latent_dim} latents, {num_parameters(experiment.model):,} parameters; "
        f"{len(trainer.batches):,} steps per epoch on {trainer.device}",
        console,
    )
    print_line(f"{folder}: {forecast(experiment)}", console)


def carry_out(experiment: Experiment, folder: Path, console: Console, report: bool) -> RunFolder:
    """Trains and evaluates."""
    trainer = experiment.trainer
    if main := is_main():
        every, channels = experiment.recipe.training.images_every, experiment.recipe.data.shown_channels
        writer = RunWriter(folder, open_checkpoints(folder), experiment.splits.valid, every, channels)
        trainer.callbacks += [writer, progress_view(console)]
    with write_errors(folder):
        _fit(trainer, folder)
        leave()
        if not main:  # the first process evaluates alone
            return RunFolder(folder)
        try:
            return finish(experiment, folder, console, report=report)
        except (KeyboardInterrupt, StopSignal) as stop:
            code = stop.exit_code if isinstance(stop, StopSignal) else 130
            raise Interrupted(f"stopped after the last epoch; {how_to_go_on(folder)}", code) from None


def _undo(folder: Path) -> None:
    """Removes a run that has come to nothing, and puts back the one that it replaced."""
    if not restore(folder):
        clear(folder)


def _fit(trainer: Trainer, folder: Path) -> None:
    """Trains; a run that diverges before its first good epoch leaves nothing, and what it replaced is put back."""
    try:
        trainer.fit()
        if not trainer.progress.best_epoch:
            raise Diverged(
                f"the validation ELBO is not finite in any epoch up to epoch {trainer.progress.epoch}; "
                "lower the learning rate (--lr) or clip the gradient (--set training.clip_norm=1)"
            )
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}; {how_to_go_on(folder)}", stopped.exit_code) from None
    except ProcessLost as lost:
        raise ProcessLost(f"{lost}; {how_to_go_on(folder)}") from None
    except Diverged as error:
        if trainer.progress.best_epoch:
            raise Diverged(f"{error}; {folder} keeps the last good epoch, {trainer.progress.epoch}") from None
        on_main(lambda: _undo(folder))
        kept = f"; {folder} holds the run that was there before" if has_run(folder) else ""
        raise Diverged(f"{error}{kept}") from None
