"""What a command that uses a run's model says if its training is not over."""

from pathlib import Path

from vaekit.core.command_text import resume_command
from vaekit.core.files import user_path
from vaekit.runs.run_list import summarize
from vaekit.runs.run_records import ENVIRONMENT, RECIPE


def unfinished_line(run: str | Path) -> str:
    """Returns a line about a run that is still trained or was stopped early; empty for all others, and for model folders."""
    folder = user_path(run)
    if not ((folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file()):
        return ""
    summary = summarize(folder)
    epochs = f"{summary.epochs:,} of {summary.max_epochs:,} epochs"
    if summary.state == "running":
        return f"{folder}: still being trained, {epochs} so far, so this is not its final model"
    if summary.state == "stopped":
        return f"{folder}: not finished, {epochs}, so this is not its final model; go on with: {resume_command(folder)}"
    return ""
