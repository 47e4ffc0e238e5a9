"""What several suites need and what takes a while to make: scenarios and runs, made once and when they are needed."""

from functools import cached_property
from pathlib import Path

from tests.faults.fuzz_input import Material
from tests.faults.scenarios import Scenarios


class Preparation:
    """Prepared folders.

    Arguments:
        scratch: A folder for them.
        jobs: The number of processes that make them.
    """

    def __init__(self, scratch: Path, jobs: int) -> None:
        self.scratch = scratch
        self.scenarios = Scenarios(scratch, jobs)

    @cached_property
    def material(self) -> Material:
        """Finished and stopped runs."""
        return Material(self.scratch / "material")
