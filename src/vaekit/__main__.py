"""The entry of the command ``vae`` and of ``python -m vaekit``: signals are handled before the command line is imported."""

import sys
from contextlib import suppress

from vaekit.core.launcher import launched_rank
from vaekit.core.signals import StopSignal, ignore_signals, stopped_at_once


def main() -> None:
    """Runs the command; a signal while it is imported ends it as any other does, by one line and 128 plus its number.

    When the command has ended, signals are ignored: its work is done, and Python needs a moment to leave.
    """
    try:
        with stopped_at_once():
            from vaekit.cli import main as run_command

            run_command()
    except StopSignal as stop:
        if launched_rank() <= 0:  # all processes are stopped together, and the first says so
            with suppress(OSError):  # of a terminal that was closed
                print(f"vae: stopped by {stop}", file=sys.stderr)
        sys.exit(stop.exit_code)
    finally:
        ignore_signals()


if __name__ == "__main__":
    main()
