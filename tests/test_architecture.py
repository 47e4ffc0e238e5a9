"""The house: a file imports only from floors below its own, and wings of one floor do not know each other.

Floors, from the ground up: ground, material, rooms, life, street. No import is hidden in a function, except in the street,
and of a heavy third-party dependency that most starts do not need.
"""

import ast
from pathlib import Path

import pytest

import vaekit

PACKAGE = Path(vaekit.__file__).parent
GROUND = {"config", "errors", "progress", "randomness", "schedules", "terms", "units"}
FLOORS = {
    **dict.fromkeys(GROUND, 0),
    **dict.fromkeys(("data", "distributions", "networks"), 1),
    **dict.fromkeys(("models", "objectives"), 2),
    **dict.fromkeys(("evaluation", "export", "pictures", "training"), 3),
    **dict.fromkeys(
        (
            "__init__",
            "__main__",
            "cli",
            "experiment",
            "gallery",
            "numbers",
            "recipe",
            "report",
            "reproduction",
            "runs",
            "tables",
        ),
        4,
    ),
}
STREET = 4
HEAVY = {"datasets", "huggingface_hub", "kornia", "sklearn"}
"""Third-party packages that may be imported where they are needed: each costs a start most of a second."""


def part(module: str) -> str:
    """The top-level part of the package that a dotted module belongs to."""
    return [*module.split("."), "__init__"][1]


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, and whether the import is hidden in a function; type checking apart."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, hidden: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, hidden) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append((node.module or "", hidden))
        inside = hidden or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text()), hidden=False)
    return found


def violations(name: str, found: list[tuple[str, bool]]) -> list[str]:
    """What a file of a part may not import."""
    wrong = []
    for module, hidden in found:
        if module.split(".")[0] == "vaekit":
            other = part(module)
            if other != name and FLOORS[other] > FLOORS[name]:
                wrong.append(f"{name} imports {other}, which is upstairs")
            if other != name and FLOORS[other] == FLOORS[name] and FLOORS[name] in (2, 3):
                wrong.append(f"{name} imports {other}, another wing of its floor")
            if other != name and FLOORS[other] == FLOORS[name] == 1:
                wrong.append(f"{name} imports {other}, another wing of its floor")
        if hidden and FLOORS[name] != STREET and module.split(".")[0] not in HEAVY:
            wrong.append(f"{name} hides the import of {module} in a function")
    return wrong


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downstairs(path: Path) -> None:
    relative = path.relative_to(PACKAGE).with_suffix("")
    assert relative.parts[0] in FLOORS, f"{relative.parts[0]} stands on no floor; give it one"
    assert violations(relative.parts[0], imports(path)) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("distributions", ("vaekit.models", False)),
        ("models", ("vaekit.objectives.elbo", False)),
        ("training", ("vaekit.evaluation.likelihood", False)),
        ("data", ("vaekit.networks", False)),
        ("terms", ("vaekit.data", False)),
        ("evaluation", ("vaekit.experiment", False)),
        ("models", ("vaekit.distributions", True)),
        ("pictures", ("matplotlib.figure", True)),
    ],
)
def test_the_rule_sees_what_is_wrong(name: str, found: tuple[str, bool]) -> None:
    assert len(violations(name, [found])) == 1


def test_every_part_of_the_house_is_on_a_floor() -> None:
    parts = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in sources()}
    assert parts <= set(FLOORS)
    assert {"training", "evaluation", "pictures", "models", "objectives", "distributions", "networks", "data"} <= parts


def test_nothing_is_unpickled() -> None:
    """A model or a checkpoint from a stranger must not be able to run code."""
    forbidden = ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
    for path in sources():
        assert not [module for module, _ in imports(path) if module.split(".")[0] in forbidden]
        text = path.read_text()
        assert "torch.load" not in text
        assert "allow_pickle=True" not in text
