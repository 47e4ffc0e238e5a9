"""Output under code pages: characters that they lack are replaced, files are UTF-8, and results are written first."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest
from rich.console import Console

from tests.commands import kept_handlers, vae
from vaekit.cli import main
from vaekit.core.files import os_error_cure
from vaekit.core.progress import notify, print_line
from vaekit.core.safe_text import REPLACED, encodable

IMPORTANCE = ["--num-samples", "0", "--num-annealed", "0", "--num-refined", "0"]
STRICT = """
import contextlib, json, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="vaekit")
from vaekit.cli import main
for args in json.loads(sys.argv[1]):
    sys.argv = ["vae", *args]
    with contextlib.suppress(SystemExit):
        main()
"""
"""Several commands, each of which ends by an error where it opens a text file without an encoding."""


def test_symbols_are_written_as_what_looks_like_them_and_letters_as_escapes() -> None:
    text = "0.1 ± 0.2 ‖ p → q − 猫 \udce9"
    assert encodable(text, "cp1252") == r"0.1 ± 0.2 || p -> q - \u732b \udce9"
    assert encodable(text, "ascii") == r"0.1 +/- 0.2 || p -> q - \u732b \udce9"
    assert encodable("0.1 ± ‖ 猫", "utf-8") == "0.1 ± ‖ 猫"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", REPLACED)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932"])
def test_lines_of_the_library_under_a_code_page(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    notify("猫‖🐈")
    print_line("猫‖🐈", Console(file=stream))
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    assert lines == [encodable("猫‖🐈", encoding)] * 2
    assert lines[0].endswith(r"\U0001f408")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("args", [["--help"], ["evaluate", "--help"], ["recipes"], ["reproduce"], ["sample", "猫/‖"]])
def test_commands_under_a_code_page(encoding: str, args: list[str]) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with patch.object(sys, "argv", ["vae", *args]), patch.object(sys, "stdout", out), patch.object(sys, "stderr", err):
        with pytest.raises(SystemExit) as stop, kept_handlers():
            main()
        out.flush()
        err.flush()
    written = (out if args[0] != "sample" else err).buffer.getvalue().decode(encoding)
    assert stop.value.code == (2 if args[0] == "sample" else 0)
    assert r"\u732b" in written if args[0] == "sample" else len(written) > 300


def test_a_process_under_a_code_page_opens_no_file_by_it(trained: Path, tmp_path: Path) -> None:
    commands = [
        ["evaluate", str(trained), "--quick", *IMPORTANCE, "-o", str(tmp_path / "x.json")],
        ["report", str(trained), "-o", str(tmp_path / "x.html")],
    ]
    command = [sys.executable, "-X", "warn_default_encoding", "-c", STRICT, json.dumps(commands)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LC_ALL": "C", "PYTHONIOENCODING": "cp1252"}
    outcome = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert outcome.stdout.decode("cp1252").split()[-2:] == [str(tmp_path / "x.json"), str(tmp_path / "x.html")], (
        outcome.stderr
    )
    assert "q(z|x) || p(z)" in outcome.stdout.decode("cp1252")
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["elbo"]["value"] < 0
    assert "±" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_results_are_written_before_they_are_printed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vaekit.presentation.metric_text.print_metrics", full)
    monkeypatch.setattr("vaekit.cli.score_commands.say", full)
    for command in (["evaluate", trained, "--quick", *IMPORTANCE], ["score", trained, "--num-samples", 2]):
        name = "x.json" if command[0] == "evaluate" else "x.csv"
        outcome = vae(*command, "-o", tmp_path / name)
        assert "No space left" in outcome.err
        assert (tmp_path / name).stat().st_size > 1_000


@pytest.mark.parametrize("command", [["recipes"], ["data", "digits"], ["reproduce"]])
def test_a_full_output_is_named(command: list[str]) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    err = io.StringIO()
    streams = patch.multiple(sys, argv=["vae", *command], stdout=Full(), stderr=err)
    with streams, pytest.raises(SystemExit) as stop, kept_handlers():
        main()
    assert stop.value.code == 2
    assert err.getvalue() == "vae: the output: No space left on device; make room, choose another place, or ask its owner\n"


def test_too_many_open_files_are_not_called_a_full_disk() -> None:
    assert "ulimit" in os_error_cure(OSError(errno.EMFILE, "Too many open files"))
    assert "make room" in os_error_cure(OSError(errno.ENOSPC, "No space left on device"))
