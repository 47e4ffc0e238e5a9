"""``python -m tests.faults [kills|disk|writers|fuzz|zoo] ...``: see ``--help``."""

import sys

from tests.faults.operations import ensure_loaded

if __name__ == "__main__":
    ensure_loaded("tests.faults", sys.argv[1:])
    from tests.faults.command_line import main

    sys.exit(main())
