"""A run that was begun by the version before: its checkpoint goes on, its model loads, and both become format 4.

``format_2_run`` was written by vaekit with format 2, stopped after step 6 of 16; ``expected.jsonl`` is the history of the
same run without a stop, by that version.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import done, newest_state, vae, without_time
from vaekit.core.tensor_files import read_header
from vaekit.models import load_vae
from vaekit.models.folder_format import FORMAT
from vaekit.runs.run_folder import RunFolder

OLD = Path(__file__).parent / "format_2_run"


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A copy of the run of format 2."""
    return shutil.copytree(OLD, tmp_path / "run")


def test_the_checkpoint_goes_on_with_the_losses_of_before(old_run: Path) -> None:
    expected = [json.loads(line) for line in (OLD / "expected.jsonl").read_text().splitlines()]
    out = done("train", "--resume", old_run)
    assert "resumed after 1 epochs, step 6" in out
    history = RunFolder(old_run).history
    assert len(history) == len(expected) == 4
    for mine, theirs in zip(map(without_time, history), map(without_time, expected), strict=True):
        assert mine.pop("train") == pytest.approx(theirs.pop("train"), rel=1e-6)  # another processor rounds otherwise
        assert mine.pop("valid") == pytest.approx(theirs.pop("valid"), rel=1e-6)
        assert mine == pytest.approx(theirs, rel=1e-6)


def test_the_folder_becomes_one_of_the_present_format(old_run: Path) -> None:
    before = load_vae(old_run).state_dict()
    assert vae("sample", old_run, "-o", old_run.parent / "samples.png").code == 0
    done("train", "--resume", old_run)
    environment = RunFolder(old_run).environment
    assert environment["format"] == json.loads((old_run / "config.json").read_text())["format"] == FORMAT == 4
    assert read_header(old_run / "model.safetensors").metadata["belongs_to"] == environment["run"]
    assert not (old_run / "checkpoints" / "last").exists()
    state = newest_state(old_run)
    assert [record["epoch"] for record in state["records"]] == [1, 2, 3, 4]
    assert before.keys() == state["best"].keys()


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoints/last/state.safetensors"])
def test_a_damaged_file_of_the_old_format_is_named(name: str, old_run: Path) -> None:
    (old_run / name).write_bytes(b"")
    outcome = vae("train", "--resume", old_run)
    assert outcome.code == 2
    assert f"run/{name}: damaged" in outcome.err
    assert outcome.err.count("\n") == 1
