"""YAML: plain data within bounds, and one line for everything else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.bad_input import result_or_message
from tests.commands import Refuse
from vaekit.core.errors import ConfigError
from vaekit.core.safe_text import printable_lines
from vaekit.core.yaml_text import MAX_CHARACTERS, format_yaml, parse_yaml
from vaekit.runs.recipe import load_recipe, recipe_names

NINE_LEVELS = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
REFUSED = {
    "nine levels of aliases": (NINE_LEVELS, "alias"),
    "an alias inside of its anchor": ("&a [*a]", "alias"),
    "an anchor": ("a: &x 1", "alias"),
    "hexadecimal without digits": ("0x_", "int"),
    "a tag for an integer": ("!!int x", "int"),
    "a tag for an empty integer": ("!!int ''", "index"),
    "a tag for an integer on a mapping": ("!!int {a: 1}", "scalar"),
    "a tag for a boolean": ("!!bool x", "'x'"),
    "a tag for a number": ("!!float x", "float"),
    "a tag for a time": ("!!timestamp x", "timestamp"),
    "a tag for bytes": ("!!binary x", "binary"),
    "a tag for a set": ("!!set {x}", "set"),
    "a tag for a mapping": ("!!map x", "mapping"),
    "a tag that merges": ("!!merge a: {b: 1}", "merge"),
    "a tag that calls": ("!!python/object/apply:os.system [ls]", "os.system"),
    "an unknown tag": ("!mine x", "!mine"),
    "5,000 digits": ("9" * 5_000, "5,000 characters"),
    "5,000 negative digits": ("-" + "9" * 5_000, "5,001 characters"),
    "200,000 hexadecimal digits": ("0x" + "f" * 200_000, "200,002 characters"),
    "200,000 sexagesimal digits": ("1:" * 100_000 + "1", "200,001 characters"),
    "5,000 lists": ("[" * 5_000, "32 levels"),
    "200,000 lists": ("[" * 200_000, "32 levels"),
    "60,000 mappings": ("{a: " * 60_000, "32 levels"),
    "120,000 entries": ("- " * 120_000, "32 levels"),
    "too many characters": ("x" * (MAX_CHARACTERS + 1), "250,000 characters"),
    "a key twice": ("a: 1\nb: 2\na: 3", "'a' is given twice"),
    "a key that is a number": ("1: 2", "key 1"),
    "a key that is a boolean": ("on: 2", "key True"),
    "a key that is nothing": ("~: 2", "key None"),
    "a key that is a list": ("? [a]\n: 2", "key ['a']"),
    "a version of 5,000 digits": (f"%YAML 1.{'9' * 5_000}\n---\na: 1", "digits"),
    "two documents": ("a: 1\n---\nb: 2", "another document"),
    "a control character": ("a: \x1b[31m", "#x001b"),
    "a byte that is not UTF-8": ("a: \udcff", "#xdcff"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_text_that_is_refused(name: str) -> None:
    text, says = REFUSED[name]
    with pytest.raises(ConfigError) as raised:
        parse_yaml(text, "place")
    message = str(raised.value)
    assert message.startswith("place: ")
    assert says in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("name", [name for name in REFUSED if len(REFUSED[name][0]) < 10_000])
def test_text_that_is_refused_as_a_recipe_and_on_the_command_line(name: str, refuse: Refuse, tmp_path: Path) -> None:
    text, says = REFUSED[name]
    refuse("train", "--set", f"title={text}", "--out", "run", says=("--set title=",))
    (tmp_path / "mine.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    refuse("train", "mine.yaml", "--out", "run", says=("mine.yaml: ", "cannot be read" if "UTF-8" in name else says))


def test_plain_data() -> None:
    text = """
    null: ~
    """
    assert parse_yaml("", "place") is None
    assert parse_yaml("a: [1, -2.5, 1e-3, .5E+2, 0x10, true, no, null, ~, '1', text, 2020-99-99, 2020-01-01, <<]", "") == {
        "a": [1, -2.5, 0.001, 50.0, 16, True, False, None, None, "1", "text", "2020-99-99", "2020-01-01", "<<"]
    }
    assert parse_yaml("1e-3", "") == 0.001
    assert parse_yaml("<<: {a: 1}\n=: 2", "") == {"<<": {"a": 1}, "=": 2}
    assert parse_yaml("[" * 32 + "]" * 32, "") is not None
    with pytest.raises(ConfigError, match=r"place: .*key None"):
        parse_yaml(text, "place")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_of_the_package_are_read_as_the_safe_loader_reads_them(name: str) -> None:
    path = Path(str(load_recipe.__globals__["files"]("vaekit.runs.recipes").joinpath(f"{name}.yaml")))
    assert parse_yaml(path.read_text(), name) == numbers(yaml.safe_load(path.read_text()))


def numbers(value: Any) -> Any:
    """The data with text such as 1e-3 as numbers, which YAML 1.1 does not read so."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if isinstance(value, str) and "e-" in value and value[0].isdecimal() else value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)


NUMERALS = st.text(st.sampled_from("0123456789.eE+-_:xob~nNyoff"), min_size=1, max_size=6)
"""Text that looks like a number, a boolean or nothing, as a name of a class may."""


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NUMERALS, NUMERALS, max_size=3) | st.lists(NUMERALS, max_size=3))
@example({"0E0": "1e-3", ".5E+2": "1.e3"})
def test_text_that_looks_like_a_number_stays_text(data: Any) -> None:
    assert parse_yaml(format_yaml(data), "place") == data


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_data_that_is_written_is_printable_and_read_again(data: Any) -> None:
    text = format_yaml(data)
    assert text == printable_lines(text)
    assert parse_yaml(text, "place") == data


def test_letters_are_written_as_they_are_and_other_characters_as_escapes() -> None:
    assert format_yaml({"title": "猫 é"}) == "title: 猫 é\n" or format_yaml({"title": "猫 é"}) == "{title: 猫 é}\n"
    assert r"\u202E" in format_yaml({"title": "\u202eevil"})
    assert r"\udcff".upper()[1:] in format_yaml({"title": "\udcff"}).upper()


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("&*!?|>%@`:-,[]{}#'\"\\ \n\tab01x.e_=<~\x00\x85\u2028"), max_size=40))
def test_any_text_is_data_or_one_line(text: str) -> None:
    result = result_or_message(lambda: parse_yaml(text, "place"))
    assert not isinstance(result, BaseException)
