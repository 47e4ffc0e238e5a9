"""``vae recipes`` and docs/recipes.md state the same numbers of the recipes."""

import re
from pathlib import Path

import pytest

from vaekit.runs.recipe import load_recipe, recipe_names

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")


def measured() -> dict[str, list[str]]:
    """The cells of the table of the ELBO, by recipe."""
    table = PAGE.split("## ELBO and reconstructions")[1].split("\n\n- ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {cells[0].split("`")[1]: cells[1:] for cells in rows}


def number(cell: str) -> float:
    """The first number of a cell."""
    return float(cell.split()[0].replace("−", "-").replace(",", ""))


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).expected])
def test_the_recipe_expects_what_the_page_states(name: str) -> None:
    elbo, _, active, psnr, _ = measured()[name]
    expected = load_recipe(name).expected
    assert expected["elbo"] == pytest.approx(number(elbo), abs=0.06 if abs(number(elbo)) < 200 else 0.6)
    assert expected["psnr"] == pytest.approx(number(psnr), abs=0.06)
    assert expected["active_units"] == number(active)


def seconds(text: str) -> float | None:
    """A time in words: the first number before a unit, or a word for one."""
    found = re.search(r"\b(a|an|ten|\d+(?:\.\d+)?) (s|seconds?|min|minutes?|hours?)\b", text)
    if found is None:
        return None
    words = {"a": 1.0, "an": 1.0, "ten": 10.0}
    value = words[found[1]] if found[1] in words else float(found[1])
    return value * {"s": 1.0, "m": 60.0, "h": 3600.0}[found[2][0]]


@pytest.mark.parametrize("name", ["digits", "mnist-mlp", "mnist-conv", "mnist-2d", "fashion-mnist", "pokemon-128"])
def test_the_recipe_needs_the_time_that_the_page_states(name: str) -> None:
    (row,) = [line for line in PAGE.split("## Training")[1].splitlines() if line.startswith(f"| `{name}` |")]
    times = [time for part in re.split(r"[,(]", row.split("|")[2]) if (time := seconds(part)) is not None]
    needed = seconds(load_recipe(name).needs)
    assert needed is not None
    assert min(times) / 2 <= needed <= 2 * max(times)
