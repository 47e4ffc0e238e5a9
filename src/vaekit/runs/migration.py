"""Run folders of formats 2 and 3 as those of format 4, so that a run that was begun by an earlier version goes on.

Format 4 adds to ``config.json`` how images are prepared; training writes it anew. Format 3 adds checksums, the hash of the
run that files belong to, and the best weights and the records of the epochs in each checkpoint. The environment, which names
the format, is written last: a migration that was killed begins again.
"""

import shutil
from pathlib import Path
from typing import Any

from vaekit.core.command_text import anew_command
from vaekit.core.errors import RunError
from vaekit.core.files import write_json
from vaekit.models import load_vae, save_vae
from vaekit.models.folder_format import FORMAT
from vaekit.runs.identity import identity
from vaekit.runs.run_folder import CHECKPOINTS, ENVIRONMENT, RunFolder
from vaekit.training import Checkpoints, read_state

WITHOUT_RESULTS, WITHOUT_PREPROCESSING = 2, 3
"""The formats before checkpoints held results, and before models held how their images are prepared."""
OLD_STATE = Path(CHECKPOINTS) / "last" / "state.safetensors"


def migrate(folder: Path) -> None:
    """Brings a run folder to the present format; one that has it stays as it is.

    Raises:
        RunError: If the checkpoint is missing or damaged.
        OSError: If the folder cannot be written.
    """
    run = RunFolder(folder)
    environment = run.environment
    if environment.get("format") == WITHOUT_RESULTS:
        data = environment.get("data")
        if not isinstance(data, dict):
            raise RunError(
                f"{folder / ENVIRONMENT}: damaged, it does not name the images; train anew: {anew_command(folder)}"
            )
        name = identity(run.recipe, data)
        state = read_state(folder / OLD_STATE)
        Checkpoints(folder / CHECKPOINTS, name).write(_with_results(state, run))
        if state["progress"]["best_epoch"]:
            save_vae(run.model, folder, belongs_to=name)
        write_json(folder / ENVIRONMENT, environment | {"format": FORMAT, "run": name})
    elif environment.get("format") == WITHOUT_PREPROCESSING:
        write_json(folder / ENVIRONMENT, environment | {"format": FORMAT})
    shutil.rmtree(folder / OLD_STATE.parent, ignore_errors=True)


def _with_results(state: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """The state with what it did not hold: the records, and the weights of the best epoch."""
    num = state["progress"]["epoch"]
    best = load_vae(run.folder).state_dict() if state["progress"]["best_epoch"] else None
    return state | {"records": run.history[:num], "best": best}
