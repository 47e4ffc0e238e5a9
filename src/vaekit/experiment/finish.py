"""The end of a run: final metrics, images, curves and report of the best model, on the test split.

Each result is written when it is known. A run that was stopped in between goes on with what is not there yet.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from vaekit.core.command_text import resume_command
from vaekit.core.errors import RunError, VaekitError
from vaekit.core.files import write_json
from vaekit.core.progress import print_command, print_line
from vaekit.data import ImageSet
from vaekit.data.remarks import skipped_images
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.evaluation_result import Evaluation
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.experiment.outcome import comparison_lines, epoch_lines, last_epoch_lines, may_rise
from vaekit.experiment.prepare import Experiment
from vaekit.experiment.run_writer import num_parameters, shown_images, write_curves, write_grids
from vaekit.models import Model
from vaekit.plots.look import PAGE
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.metric_text import print_metrics
from vaekit.reports.run_report import run_report
from vaekit.runs.run_folder import METRICS, REPORT, RunFolder


def is_finished(experiment: Experiment, folder: Path, *, report: bool = True) -> bool:
    """Returns whether training is over, and everything that it and what follows it write is there and whole.

    Arguments:
        experiment: The experiment, in the state of its last checkpoint.
        folder: The run folder.
        report: Whether a report is wanted.
    """
    if not experiment.trainer.finished:
        return False
    has_report = not report or (folder / REPORT).exists() or not isinstance(experiment.splits.test, ImageSet)
    return has_report and _has_metrics(experiment, folder) and _has_model(experiment, folder)


def finish(experiment: Experiment, folder: Path, console: Console, *, report: bool = True) -> RunFolder:
    """Writes what is not there yet of the final metrics, the images and the report.

    Arguments:
        experiment: The experiment, trained.
        folder: The run folder.
        console: Where metrics and paths are printed.
        report: Whether to plot the learning curves and to write the report, which takes some seconds.

    Raises:
        VaekitError: If the model cannot be evaluated.
        OSError: If the folder cannot be written.
    """
    test = experiment.splits.test
    model = RunFolder(folder).model.to(experiment.trainer.device)
    if not _has_metrics(experiment, folder):
        evaluation = _evaluate(experiment, model)
        (folder / REPORT).unlink(missing_ok=True)  # of an earlier end of the run: a report is never older than the metrics
        write_json(folder / METRICS, _metrics(experiment, model, evaluation))
        print_metrics(evaluation, console)
        _print_outcome(experiment, evaluation, folder, console)
    channels = experiment.recipe.data.shown_channels
    shown = shown_images(test, channels)
    if shown is not None:
        write_grids(model, shown, folder, channels, RunFolder(folder).look)
    written = {"images": folder / "images", "metrics": folder / METRICS}
    if report:
        write_curves(folder)
    if report and isinstance(test, ImageSet):
        run_report(RunFolder(folder), Gallery(model, test, channels=channels, look=PAGE)).save(folder / REPORT)
        written = {"report": folder / REPORT} | written
    for name, path in written.items():
        print_line(f"{name:<9} {path}", console)
    return RunFolder(folder)


def _print_outcome(experiment: Experiment, evaluation: Evaluation, folder: Path, console: Console) -> None:
    """Prints the result beside what the recipe expects, why the epochs ended, which was kept, and how to go on."""
    progress = experiment.trainer.progress
    for line in comparison_lines(experiment.recipe.expected, evaluation):
        print_line(line, console)
    if experiment.trainer.step.objective.keeps_last:
        for line in last_epoch_lines(progress.epoch):
            print_line(line, console)
        return
    epochs = (progress.best_epoch, progress.epoch, experiment.trainer.config.epochs)
    for line in epoch_lines(*epochs):
        print_line(line, console)
    if may_rise(*epochs):
        print_command(resume_command(folder, "--epochs", 2 * progress.epoch), console)


def _evaluate(experiment: Experiment, model: Model) -> Evaluation:
    section = experiment.recipe.evaluation
    config = replace(BRIEF, num_samples=section.num_samples, max_images=section.max_images)
    return evaluate_model(model, experiment.splits.test, config=config)


def _metrics(experiment: Experiment, model: Model, evaluation: Evaluation) -> dict[str, Any]:
    splits = experiment.splits
    skipped = skipped_images(splits.train, splits.valid, splits.test)
    return {
        "recipe": experiment.recipe.name,
        **_epochs(experiment),
        "seconds": round(experiment.trainer.progress.seconds, 2),
        "parameters": num_parameters(model),
        **evaluation.to_data(),
        **({"skipped": skipped} if skipped else {}),
    }


def _epochs(experiment: Experiment) -> dict[str, int]:
    progress = experiment.trainer.progress
    return {"epochs": progress.epoch, "best_epoch": progress.best_epoch}


def _has_model(experiment: Experiment, folder: Path) -> bool:
    """Whether model and history are those of the checkpoint."""
    run = RunFolder(folder)
    try:
        weights, best = run.model.state_dict(), experiment.trainer.best_weights or {}
        same = weights.keys() == best.keys() and all(torch.equal(weights[key], best[key]) for key in weights)
        return same and run.history == experiment.trainer.records
    except VaekitError:  # missing or damaged
        return False


def _has_metrics(experiment: Experiment, folder: Path) -> bool:
    """Whether the metrics of this end of the run are there, and not those of fewer epochs."""
    try:
        metrics = RunFolder(folder).metrics
    except RunError:  # missing or damaged
        return False
    return {key: metrics.get(key) for key in _epochs(experiment)} == _epochs(experiment)
