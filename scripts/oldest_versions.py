"""Tries the oldest allowed versions: the quick tests in a fresh virtual environment with the lower bounds of pyproject.toml.

    python scripts/oldest_versions.py                       # about ten minutes on two cores
    python scripts/oldest_versions.py tests/test_augment.py

Each dependency is installed in the version that ``>=`` names, and what these depend on in the newest version that fits. Only
torch is not, whose builds take gigabytes: it has the version of requirements.txt, or of ``--torch``.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOUND = re.compile(r"([\w.-]+)>=([\w.]+)")
TOOLS = ("pytest", "hypothesis")
"""What the tests need besides, in their newest versions."""
QUICK = (
    "animation_files",  # imageio-ffmpeg, pillow
    "augment",  # kornia
    "bad_sources",
    "bfloat16",  # accelerate
    "cache",  # filelock
    "config",  # pydantic
    "contracts",  # torch
    "data",
    "downstream",  # scikit-learn
    "feature_distances",
    "fidelity",
    "flows",  # zuko
    "folders",  # datasets
    "formats",  # pillow
    "help",  # typer
    "hostile_data",  # pyarrow
    "hub_unreachable",  # huggingface_hub
    "latent_map",  # matplotlib
    "plots",
    "report",  # jinja2
    "rounding",
    "sources",
    "tensor_files",  # safetensors
    "train_command",  # rich
    "training",
    "variables",
    "yaml_text",  # pyyaml
)
"""The test files that use each dependency, by the middle of their names."""


def main() -> None:
    """Installs the oldest versions and runs tests with them; the exit code is that of pytest."""
    parser = argparse.ArgumentParser(description="Runs tests with the oldest allowed versions of the dependencies.")
    parser.add_argument("tests", nargs="*", default=[f"tests/test_{name}.py" for name in QUICK], help="test files")
    parser.add_argument("--torch", default=pinned("torch"), help="the version of torch; by default that of requirements.txt")
    parser.add_argument("--folder", type=Path, help="where the environment is made and kept; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        python = install(arguments.folder or Path(temporary) / "environment", arguments.torch)
        # What old versions warn of is not the fault of the code that uses them.
        command = [python, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", *arguments.tests]
        sys.exit(subprocess.run(command, cwd=ROOT).returncode)


def oldest() -> dict[str, str]:
    """Returns the lower bound of each dependency and of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = [BOUND.fullmatch(one) for one in required]
    if not all(bounds):
        sys.exit(f"pyproject.toml: a dependency is not of the form name>=version: {required}")
    return {bound[1]: bound[2] for bound in bounds if bound}


def pinned(name: str) -> str:
    """Returns the version of a package in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)[name]


def install(folder: Path, torch: str) -> str:
    """Makes a virtual environment with the oldest versions, and returns the path of its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    pins = [f"{name}=={version}" for name, version in (oldest() | {"torch": torch}).items()]
    print(f"Python {sys.version.split()[0]}: {' '.join(pins)}", flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins, *TOOLS], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(ROOT)], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    return python


if __name__ == "__main__":
    main()
