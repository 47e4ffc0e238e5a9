"""A training without its drawings: figures and the report are small constant files, which are written in the same way.

Drawing takes nine tenths of the time of a tiny training, and what is drawn does not matter to most faults.
"""

import io
from pathlib import Path
from typing import Any

from PIL import Image

PAGE = "<!doctype html>\n<html><body>a report without drawings</body></html>\n"
SVG = "<svg></svg>"


def leave_out() -> None:
    """Replaces drawing in this process."""
    from matplotlib.figure import Figure

    import vaekit.experiment.finish as ending
    from vaekit.reports.page import Page

    for place, name, constant in (
        (Figure, "savefig", _save_constant),
        (ending, "run_report", lambda *args, **options: Page(PAGE)),
    ):
        assert hasattr(place, name)
        setattr(place, name, constant)


def _save_constant(figure: Any, file: Any, **options: Any) -> None:
    if options.get("format") == "svg":
        file.write(SVG)
        return
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "PNG")
    if isinstance(file, io.BytesIO):
        file.write(content.getvalue())
    else:
        Path(file).write_bytes(content.getvalue())
