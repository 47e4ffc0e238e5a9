"""Values, names and texts that programs get wrong."""

import copy
import random
from typing import Any

Random = random.Random

NUMBERS = (
    *(0, 1, -1, 2, 3, 7, -7, 1.5, 0.5, -0.5, 1e-300, 1e300, -1e300, 1e39, 1e20, float("inf"), float("-inf"), float("nan")),
    *(2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), 10**15, 10**30, 10**4000),
)
NAMES = (
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "-",
        "--",
        "~",
        "*",
        "@",
        "@0",
        "@-1",
        "@99999999",
        "a" * 256,
        "a" * 5000,
        "null",
        "true",
        "0x10",
    ),
    *(
        "a\nb",
        "a\rb",
        "a\tb",
        "a\x1b[31mb",
        "\x1b]0;title\x07",
        "\x07",
        "\x7f",
        "\x9b31m",
        "a\u202eb",
        "\u2028",
        "\ufeff",
        "\x85",
    ),
    *(
        "[red]x[/red]",
        "[/]",
        "[bold",
        "$50_$100",
        r"$\frac{1$",
        "%s%n",
        "{0}",
        "{x.__class__}",
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
    ),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "&amp;",
        "'",
        '"',
        "\\",
        "$(touch canary)",
        "`touch canary`",
    ),
    *(
        "../../outside",
        "/etc/passwd",
        "/dev/zero",
        "/dev/full",
        "/proc/self/mem",
        "a/b/c/d",
        "https://example.com/x.npy",
        "a:b@c",
    ),
    *(
        "os.system",
        "ａｂｃ",
        "é",
        "日本",
        "🙂",
        "\udcff\udcfe",
        "con",
        "a.npy",
        "a.zip",
        "a.parquet",
        "cat.png",
        "²",
        "٣",
        "1e5",
        "1_0",
    ),
)
YAML_TEXTS = (
    *(
        "0x_",
        "0b_",
        "0o_",
        "1__0",
        "1:60:60",
        "190:20:30.15",
        "2020-99-99",
        "2020-01-01",
        "2020-13-01T25:61:61Z",
        ".inf",
        "-.inf",
    ),
    *(
        ".nan",
        "1e400",
        "9" * 5000,
        "1." + "9" * 5000,
        "!!int x",
        "!!int ''",
        "!!float x",
        "!!bool x",
        "!!timestamp x",
        "!!binary x",
    ),
    *(
        "!!null x",
        "!!set {a}",
        "!!omap [a]",
        "!!pairs [a]",
        "!!python/name:os.system",
        "!!python/object/apply:os.system [touch canary]",
    ),
    *(
        "!unknown x",
        "!<!> x",
        "&a [*a]",
        "&a {*a : 1}",
        "*a",
        "[" * 5000,
        "{a: " * 500,
        "{[1]: 2}",
        "{{1: 2}: 3}",
        "? a",
        "- a",
        "- - - a",
    ),
    *(
        "{<<: 1}",
        "{<<: [1]}",
        "<<: &a {<<: *a}",
        "|",
        ">",
        "|9\n  a",
        "'",
        '"',
        '"\\x00"',
        '"\\uD800"',
        "'a''",
        "%YAML 9.9",
        "---",
        "...",
    ),
    *("a: b: c", "\t- a", "a: 1\na: 2", "@a", "`a", "\x00", "\x01", "\ud800", "\ufffe", "null", "~", "yes", "NO", "=", "<<"),
)
CONSTANTS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"name": "mlp"},
    {"name": 1},
    {"name": None},
    [1],
    [0],
    [-1],
    ["a"],
    {"a": {"b": 1}},
)


def aliases(levels: int) -> str:
    """YAML whose size doubles or more with each level of aliases."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "{" + ", ".join(lines) + "}"


def value(generator: Random) -> Any:
    """A number, a name, or another value."""
    kind = generator.random()
    if kind < 0.4:
        return generator.choice(NUMBERS)
    return generator.choice(NAMES) if kind < 0.75 else copy.deepcopy(generator.choice(CONSTANTS))


def text(generator: Random) -> str:
    """A value as the text of an option or of YAML."""
    kind = generator.random()
    if kind < 0.02:
        return aliases(generator.randint(2, 9))
    if kind < 0.45:
        return generator.choice(YAML_TEXTS)
    if kind < 0.75:
        return generator.choice(NAMES)
    return str(generator.choice(NUMBERS))


def argument(generator: Random) -> str:
    """A text as Python reads it from a command line: no NUL, and surrogates for bytes that are not UTF-8."""
    return text(generator).replace("\0", "").encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
