"""The layout: a module imports only from layers below its own, and packages that a bar separates do not import one another.

Own modules are imported at the top of a file, except in ``cli`` and ``vaekit/__init__.py``, which must start fast. Heavy
third-party packages that most runs do not need may be imported inside a function anywhere.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest

import vaekit

PACKAGE = Path(vaekit.__file__).parent
LAYERS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("distributions", "networks", "data", "mcmc"),
    ("models", "objectives"),
    ("training", "evaluation", "plots", "export"),
    ("presentation",),
    ("runs",),
    ("reports",),
    ("experiment",),
    ("reproduction",),
    ("cli",),
    ("__init__", "__main__"),
)
"""From the lowest layer up; packages of one layer are separated by a bar."""
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}
STARTS_FAST = ("cli", "__init__", "__main__")
"""What may import own modules inside functions."""
HEAVY = {
    "datasets",
    "huggingface_hub",
    "kornia",
    "pyarrow",
    "sklearn",
    "umap",
    "imageio_ffmpeg",
    "torch_fidelity",
    "torchmetrics",
}
"""Third-party packages that may be imported inside a function: each costs a start up to a second, or is optional."""
MAX_LINES = 350
LONGER: dict[str, str] = {}
"""Files that may be longer, each with its reason."""


def package_of(module: str) -> str:
    """The package below ``vaekit`` that a dotted module belongs to."""
    return [*module.split("."), "__init__"][1]


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, and whether inside a function; imports for type checking apart."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append((node.module or "", inside))
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), inside=False)
    return found


def violations(package: str, found: list[tuple[str, bool]]) -> list[str]:
    """The imports that a file of a package may not have."""
    wrong = []
    for module, inside in found:
        own = module.split(".")[0] == "vaekit"
        if own and package_of(module) != package:
            other = package_of(module)
            if LEVEL[other] > LEVEL[package]:
                wrong.append(f"{package} imports {module} from a layer above")
            if LEVEL[other] == LEVEL[package] and package not in STARTS_FAST:
                wrong.append(f"{package} imports {module} across a bar")
        if inside and own and package not in STARTS_FAST:
            wrong.append(f"{package} imports {module} inside a function")
        if inside and not own and package != "cli" and module.split(".")[0] not in HEAVY:
            wrong.append(f"{package} imports {module} inside a function")
    return wrong


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    package = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert package in LEVEL, f"{package} is in no layer"
    assert violations(package, imports(path)) == []


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ("distributions", ("vaekit.models", False)),
        ("models", ("vaekit.objectives.elbo", False)),
        ("training", ("vaekit.evaluation.likelihood.bounds", False)),
        ("export", ("vaekit.evaluation.latents.encodings", False)),
        ("data", ("vaekit.networks", False)),
        ("core", ("vaekit.data", False)),
        ("presentation", ("vaekit.runs", False)),
        ("runs", ("vaekit.reports", False)),
        ("reports", ("vaekit.experiment.train", False)),
        ("experiment", ("vaekit.cli", False)),
        ("experiment", ("vaekit.evaluation.model_evaluation", True)),
        ("models", ("vaekit.distributions", True)),
        ("plots", ("matplotlib.figure", True)),
    ],
)
def test_the_rule_finds_violations(package: str, found: tuple[str, bool]) -> None:
    assert len(violations(package, [found])) == 1


def test_every_package_is_in_a_layer_and_every_layer_exists() -> None:
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()} == set(LEVEL)


def test_nothing_stands_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_no_two_modules_have_one_name() -> None:
    names = Counter(path.name for path in sources() if not path.name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES and name not in LONGER} == {}


def test_nothing_is_unpickled() -> None:
    """A model or a checkpoint from a stranger must not be able to run code."""
    forbidden = ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
    for path in sources():
        assert not [module for module, _ in imports(path) if module.split(".")[0] in forbidden]
        text = path.read_text(encoding="utf-8")
        assert "torch.load" not in text
        assert "allow_pickle=True" not in text
