"""Random changes of recipes and of ``--set`` values: each is read, or refused by one line.

``python -m tests.faults.recipes --cases 10000`` prints how many were read, refused and wrong, and the slowest.
"""

import argparse
import random
import time
from collections import Counter

import yaml

from tests.faults.verdict import outcome_of
from vaekit.core.config import to_data
from vaekit.runs.overrides import parse_overrides
from vaekit.runs.recipe import load_recipe, read_recipe, recipe_names

WORDS = [
    *("null", "[]", "{}", "1e400", "-1", "0", "9" * 30, "9" * 5000, "nan", ".inf", "1:30", "0o9", "0x_", "2020-99-99", "~"),
    *("&a", "*a", "<<: {a: 1}", "? a", "|", "> x", "%YAML 9.9", "---", "...", "#", "- ", ":", "[", "]", "{", "}", "'", '"'),
    *("!!int x", "!!python/object/apply:os.system [id]", "\t", "\x1b[31m", "\u202e", "\ud800", "\u00e9" * 50),
    *("name: mlp", "name: vamp", "true", "1.5"),
]
PLACES = ["model.latent_dim", "model.encoder", "optimizer.lr", "scheduler", "objective.beta", "data.size", "data.augment"]


def main() -> int:
    """Tries the cases; returns 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.recipes", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, slowest = random.Random(options.seed), 0.0
    texts = [yaml.safe_dump(to_data(load_recipe(name)), sort_keys=False) for name in recipe_names()]
    kinds: Counter[str] = Counter()
    for number in range(options.cases):
        begun = time.perf_counter()
        kinds[_outcome(changed(generator.choice(texts), generator), generator, as_file=number % 2 == 1)] += 1
        slowest = max(slowest, time.perf_counter() - begun)
    for kind, num in kinds.most_common():
        print(f"{num:>7,} {kind}")
    print(f"slowest {slowest:.2f} s")
    return int(bool(kinds.keys() - {"read", "refused"}))


def changed(text: str, generator: random.Random) -> str:
    """A text with one to four random changes: of its characters, or of values alone, so that it stays YAML more often."""
    if generator.random() < 0.5:
        return _with_other_values(text, generator)
    characters = list(text)
    for _ in range(generator.randint(1, 4)):
        at, how = generator.randrange(len(characters) + 1), generator.random()
        if how < 0.4:
            characters[at:at] = generator.choice(WORDS)
        elif how < 0.6:
            del characters[at : at + generator.randint(1, 30)]
        elif how < 0.8:
            characters[at : at + 1] = chr(generator.randrange(0x300))
        else:
            begin = generator.randrange(len(characters) + 1)
            characters[at:at] = characters[begin : begin + generator.randint(1, 60)]
    return "".join(characters)


def _with_other_values(text: str, generator: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(lines))
        key, colon, _value = lines[at].partition(": ")
        if colon:
            lines[at] = f"{key}: {generator.choice(WORDS)}"
    return "\n".join(lines)


def _outcome(text: str, generator: random.Random, *, as_file: bool) -> str:
    """What became of a text, read as a recipe or taken for the value of a place."""
    if as_file:
        return outcome_of(lambda: read_recipe(text, "mine.yaml", {"name": "mine"}, {}))
    value = generator.choice([generator.choice(text.splitlines() or [""]), "".join(generator.choices(WORDS, k=3))])
    change = f"{generator.choice(PLACES)}={value}"
    return outcome_of(lambda: load_recipe("digits", parse_overrides([change])))


if __name__ == "__main__":
    raise SystemExit(main())
