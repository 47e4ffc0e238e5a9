"""Text from users' data: what is shown of it, and how long a message is."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaekit.core.errors import ConfigError, DataError, class_index, suggest, whole_number
from vaekit.core.safe_text import (
    INVISIBLE,
    JOINERS,
    MAX_WORD,
    listing,
    one_line,
    printable,
    printable_lines,
    printable_value,
    spreadsheet_text,
    valid_unicode,
)

SHOWN = {
    "cat 7": "cat 7",
    "": "",
    "é שלום العربية 猫 🐈": "é שלום العربية 猫 🐈",
    "می\u200cخواهم": "می\u200cخواهم",
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\nb\r\tc\0": r"a\nb\r\tc\x00",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066\u2069\u200f\u061c": r"\u2066\u2069\u200f\u061c",
    "line\u2028paragraph\u2029": r"line\u2028paragraph\u2029",
    "zero\u200bwidth\ufeff": r"zero\u200bwidth\ufeff",
    "caf\udce9": r"caf\xe9",
    "\ud800": r"\ud800",
    "\U000e0041\ufffe\U0001ffff": r"\U000e0041\ufffe\U0001ffff",
    "[bold]{0}%s$x$<b>&amp;": "[bold]{0}%s$x$<b>&amp;",
}


@pytest.mark.parametrize("text", SHOWN)
def test_characters_with_an_effect_are_shown_as_escapes_and_no_others(text: str) -> None:
    assert printable(text) == SHOWN[text]


@given(st.text(st.characters()), st.integers(3, 20))
def test_printable_text_has_no_effect_and_is_unchanged_by_another_call(text: str, max_length: int) -> None:
    shown = printable(text)
    assert not [c for c in shown if c not in JOINERS and unicodedata.category(c) in INVISIBLE]
    assert shown.encode().decode() == shown == printable(shown)
    assert len(printable(text, max_length)) <= max_length


def test_long_text_is_cut_in_the_middle() -> None:
    assert printable("0123456789", 10) == "0123456789"
    assert printable("0123456789", 9) == "0123…6789"
    assert printable("0123456789", 4) == "01…9"
    assert printable("\n" * 8, 9) == r"\n\n…\n\n"
    assert printable("x" * 10**7, 80) == "x" * 40 + "…" + "x" * 39


def test_lines_are_kept_or_joined() -> None:
    assert printable_lines("a: 1\nb: \x07\n") == "a: 1\nb: \\x07\n"
    assert one_line("first\nsecond\r\n\x1bthird", 100) == r"first second \x1bthird"
    assert one_line(f"{'x' * 5_000}: no such class", 2_000).endswith("x: no such class")
    assert len(one_line(f"{'x' * 5_000}: no such class", 2_000)) == MAX_WORD + len(": no such class") - 1


def test_values_that_python_does_not_show() -> None:
    assert printable_value({"a": [1, "\x1b"]}) == r"{'a': [1, '\x1b']}"
    assert printable_value(10**5_000) == "a value of type int that is too large to show"
    assert len(printable_value(["a"] * 5_000)) == 80


def test_names_are_listed_up_to_a_number_and_a_length() -> None:
    assert listing(["cat", "d\no\ng"]) == r"cat, d\no\ng"
    assert listing(map(str, range(10_000)), 3) == "0, 1, 2, and 9,997 more"
    assert listing(["x" * 1_000] * 100, 16, 100) == f"{', '.join([printable('x' * 1_000, 40)] * 2)}, and 98 more"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert spreadsheet_text(text) == f"'{printable(text)}"
    assert spreadsheet_text(f"a{text}") == f"a{printable(text)}"


def test_text_that_is_not_unicode_is_made_so() -> None:
    assert valid_unicode("caf\udce9") == r"caf\xe9"
    assert valid_unicode("\ud800") == r"\ud800"
    assert valid_unicode("猫\u202e") == "猫\u202e"


def test_the_message_of_an_error_is_one_printable_line() -> None:
    assert str(ConfigError("a\x1b[31m: no\nsuch \udcff")) == r"a\x1b[31m: no such \xff"
    assert len(str(ConfigError("many words " * 10_000))) == 2_000


def test_an_unknown_class_among_many_is_a_short_message() -> None:
    classes = [f"class-{index:05}" for index in range(10_000)]
    for word in ("zzz", "class_00007", "9" * 5_000, "x" * 5_000, "@\x1b" * 3_000, "10000"):
        with pytest.raises(DataError, match="no such class") as raised:
            class_index(word, classes)
        assert len(str(raised.value)) < 500
    assert suggest("zzz", classes).endswith("class-00015, and 9,984 more)")
    assert suggest("class_00007", classes).startswith(" (did you mean 'class-00007'")
    assert suggest("x", ["\x1b[31m"]) == r" (known: \x1b[31m)"
    assert class_index("9999", classes) == 9_999


def test_whole_numbers() -> None:
    assert whole_number("7") == 7
    assert [whole_number(word) for word in ("", "-1", "1.5", "²", "9" * 19, "9" * 5_000, "x")] == [None] * 7
    assert whole_number("9" * 18) == 10**18 - 1
