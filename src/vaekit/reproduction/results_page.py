"""The page ``results.md`` of a reproduction: a Markdown table for each tier."""

from collections.abc import Mapping
from typing import Any

from vaekit.core.rounding import with_error
from vaekit.presentation.metric_text import duration
from vaekit.reproduction.protocol import TIERS, Reproduction, Tier

PAGE, FIGURE = "results.md", "figure.png"


def page(reproduction: Reproduction, tiers: Mapping[Tier, dict[str, Any]]) -> str:
    """Returns the results as Markdown, from the highest tier to the lowest.

    Arguments:
        reproduction: The reproduction.
        tiers: The record of each tier that was run, as in ``results.json``.
    """
    parts = [f"# {reproduction.name}: {reproduction.title}", reproduction.paper, f"![figure]({FIGURE})"]
    for tier in reversed(TIERS):
        if tier in tiers:
            parts += [f"## {tier}: {reproduction.tiers[tier]}", *_tier_parts(tiers[tier])]
        elif tier != "smoke":  # which publishes nothing
            parts.append(f"## {tier}: {reproduction.tiers[tier]}")
            parts.append(f"Not run. Command: `vae reproduce {reproduction.name} --tier {tier}`.")
    return "\n\n".join(parts) + "\n"


def _tier_parts(record: Mapping[str, Any]) -> list[str]:
    head = ["| quantity | published | obtained ± s.e. | tolerance or limits | verdict |", "|---|---|---|---|---|"]
    command, seconds = f"Command: `{record['command']}`", duration(record["seconds"])
    return [
        "\n".join(head + [_row(row) for row in record["rows"]]),
        "Choices that the paper does not specify, and deviations from it:",
        "\n".join(f"- {sentence}" for sentence in record["choices"]),
        f"{command}. Time: {seconds} on {record['hardware']}, torch {record['packages']['torch']}.",
    ]


def _row(row: Mapping[str, Any]) -> str:
    obtained = "not run" if row["obtained"] is None else _number(row["obtained"])
    if row["standard_error"] is not None:
        obtained = with_error(row["obtained"], row["standard_error"], 2).replace("-", "−")
    signs = {"minimum": "≥ ", "maximum": "≤ "}
    limits = ", ".join(_number(row[key], sign) for key, sign in signs.items() if row[key] is not None)
    quantity = f"{row['quantity']} ({row['note']})" if row["note"] else row["quantity"]
    accepted = limits or _number(row["tolerance"], "± ")
    return f"| {quantity} | {_number(row['published'])} | {obtained} {row['unit']} | {accepted} | {row['verdict']} |"


def _number(value: float | None, prefix: str = "") -> str:
    """Formats a number: two decimals, one from 1,000 on, none for integers; a dash for None."""
    if value is None:
        return "–"
    decimals = 0 if isinstance(value, int) else 2 if abs(value) < 1000 else 1
    return f"{prefix}{value:.{decimals}f}".replace("-", "−")
