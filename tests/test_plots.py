"""Charts: what they plot, say and look like on any page."""

import re
from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vaekit.plots import (
    curve,
    error_plot,
    latent_map,
    learning_curves,
    rate_plot,
    to_svg,
)
from vaekit.plots.curves import ON_BOTH_SPLITS, ON_VALIDATION, QUANTITIES, changing, constants, kept
from vaekit.plots.density import density
from vaekit.plots.style import ACCENT, COLORS, INK, SECOND, count, font, wrap


def test_curves_draw_what_was_recorded() -> None:
    records = [
        {
            "epoch": epoch,
            "train": {"elbo": -100 + epoch, "rate": 20.0, "distortion": 80.0 - epoch, "beta": epoch / 10},
            "valid": {"elbo": -101 + epoch, "rate": 21.0, "distortion": 80.0 - epoch},
            "lr": 1e-3 / epoch,
            "grad_norm": 3.0,
        }
        for epoch in range(1, 11)
    ]
    figure = learning_curves(records, "a run")
    elbo, distortion, rate, weight, lr = figure.axes
    assert elbo.lines[0].get_ydata().tolist() == [r["train"]["elbo"] for r in records]
    assert elbo.lines[1].get_ydata().tolist() == [r["valid"]["elbo"] for r in records]
    assert distortion.lines[1].get_ydata().tolist() == [r["valid"]["distortion"] for r in records]
    assert weight.lines[0].get_ydata().tolist() == [r["train"]["beta"] for r in records]
    assert lr.lines[0].get_ydata().tolist() == [r["lr"] for r in records]
    assert (elbo.get_ylabel(), lr.get_xlabel()) == ("nats per image", "epoch")
    assert rate.lines[0].get_color() != rate.lines[1].get_color()
    assert figure.get_supxlabel() == "constant: gradient norm 3"
    width, height = (200 * side for side in figure.get_size_inches())
    assert min(width, height) >= 1080


def test_whatever_changes_is_drawn_and_what_is_constant_is_written() -> None:
    records = [
        {
            "epoch": epoch,
            "train": {
                "loss": 9.0 - epoch,
                "elbo": epoch - 9.0,
                "rate": 1.0,
                "distortion": 8.0 - epoch,
                "beta": 1.0,
                "wake": epoch,
            },
            "valid": {"elbo": epoch - 9.0, "rate": 1.0, "distortion": 8.0 - epoch},
            "lr": 0.1,
        }
        for epoch in (1.0, 2.0, 3.0)
    ]
    assert changing([records]) == ["elbo", "distortion", "rate", "wake"]  # the loss is the negative ELBO
    assert constants([records]) == ["KL weight 1", "learning rate 0.1"]
    figure = learning_curves(records, "a run")
    assert [axes.get_title(loc="left") for axes in figure.axes][3:] == ["wake"]
    assert figure.axes[3].lines[0].get_ydata().tolist() == [1, 2, 3]
    records[0]["train"]["loss"] = 50.0
    assert changing([records])[3:] == ["loss", "wake"]


@pytest.mark.parametrize("flags", [[False, False, False], [True, True, False]])
def test_the_kept_epoch_is_marked(flags: list[bool]) -> None:
    records = history(3)
    for record, elbo, flag in zip(records, (-9.0, -7.0, -8.0), flags, strict=True):
        record["valid"]["elbo"] = elbo
        record["best"] = flag
    found = kept(records)
    assert found is not None
    assert found["epoch"] == 2
    [axes] = curve({"one": records}, "elbo").axes
    line, point = axes.lines[2:]
    assert set(line.get_xdata()) == {2}
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (2, -7.0)
    assert point.get_label() == "kept: epoch 2, −7.00"


def test_curves_of_one_epoch_and_without_a_weight() -> None:
    record = {"epoch": 1, "train": {"elbo": -3.0}, "valid": {"elbo": -4.0}, "lr": 0.1, "grad_norm": 1.0}
    figure = learning_curves([record], "one")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1]
    assert [axes.get_title(loc="left") for axes in figure.axes][3:] == ["learning rate", "gradient norm"]


def history(epochs: int = 10, better: float = 0.0) -> list[dict[str, Any]]:
    """The epochs of a run whose numbers all differ."""
    return [
        {
            "epoch": epoch,
            "train": {"elbo": better - 100 / epoch, "rate": 20.0 + epoch, "distortion": 80.0 - epoch, "beta": epoch / 10},
            "valid": {"elbo": better - 101 / epoch, "rate": 21.0 + epoch, "distortion": 81.0 - epoch},
            "lr": 1e-3 / epoch,
            "grad_norm": 3.0 + better + epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(("num", "rows"), [(1, [1]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (6, [3, 3])])
def test_no_panel_of_curves_is_alone_in_its_row(num: int, rows: list[int]) -> None:
    records = [
        {"epoch": epoch, "train": {"elbo": -1.0 / epoch} | {f"term {name}": epoch for name in range(num)}, "valid": {}}
        for epoch in (1, 2, 3)
    ]
    figure = learning_curves(records, "a run")
    shown = [axes for axes in figure.subfigs[1].axes if axes.get_visible()]
    tops = [axes.get_subplotspec().rowspan.start for axes in shown]  # type: ignore[union-attr]
    assert [tops.count(row) for row in range(max(tops) + 1)] == rows


@pytest.mark.parametrize("quantity", ON_VALIDATION)
def test_curve_of_codes_draws_what_validation_images_have(quantity: str) -> None:
    records = history()
    for record in records:
        record["valid"] |= {"code_use": 90.0 + record["epoch"], "perplexity": 7.0 * record["epoch"]}
    for runs in ({"one": records}, {"one": records, "other": records}):
        for line in curve(runs, quantity).axes[0].lines:
            assert line.get_ydata().tolist() == [record["valid"][quantity] for record in records]
    assert quantity in changing([records])
    assert quantity not in changing([history()])


def value(record: dict[str, Any], quantity: str, split: str) -> float:
    """A quantity of an epoch."""
    return record[split][quantity] if quantity in ON_BOTH_SPLITS else record.get(quantity, record["train"].get(quantity))


@pytest.mark.parametrize("quantity", [name for name in QUANTITIES if name not in ON_VALIDATION])
def test_curve_of_one_run_draws_both_splits(quantity: str) -> None:
    records = history()
    [axes] = curve({"one": records}, quantity).axes
    splits = ["train", "valid"] if quantity in ON_BOTH_SPLITS else ["train"]
    for line, split in zip(axes.lines, splits, strict=False):
        assert line.get_xdata().tolist() == list(range(1, 11))
        assert line.get_ydata().tolist() == [value(record, quantity, split) for record in records]
    assert (axes.get_title(loc="left"), axes.get_ylabel(), axes.get_xlabel()) == (*QUANTITIES[quantity], "epoch")
    assert axes.get_yscale() == ("log" if quantity == "lr" else "linear")
    if quantity in ON_BOTH_SPLITS:
        assert [text.get_text() for text in axes.get_legend().get_texts()][:2] == ["train", "validation"]


@pytest.mark.parametrize("quantity", [name for name in QUANTITIES if name not in ON_VALIDATION])
def test_curve_of_several_runs_draws_the_validation_of_each(quantity: str) -> None:
    runs = {"short": history(3), "long": history(12, 5.0), "new": []}
    figure = curve(runs, quantity)
    [axes] = figure.axes
    for line, records in zip(axes.lines, runs.values(), strict=True):
        assert line.get_xdata().tolist() == [record["epoch"] for record in records]
        assert line.get_ydata().tolist() == [value(record, quantity, "valid") for record in records]
    assert len({line.get_color() for line in axes.lines}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)
    assert curve(runs, quantity, legend=False).legends == []
    one_group = curve(runs, quantity, {"short": 2, "long": 2, "new": 0}).axes[0].lines
    assert [line.get_color() for line in one_group] == [COLORS[2], COLORS[2], COLORS[0]]
    title, unit = QUANTITIES[quantity]
    assert (axes.get_title(loc="left"), axes.get_ylabel()) == (
        f"{title}, validation" if quantity in ON_BOTH_SPLITS else title,
        unit,
    )


def test_first_epochs_do_not_flatten_the_elbo() -> None:
    [axes] = curve({"one": history(40)}, "elbo").axes
    low, high = axes.get_ylim()
    assert -101 < low < -100 / 20
    assert -100 / 40 < high < 0
    [axes] = curve({"one": history(2)}, "elbo").axes
    assert axes.get_ylim()[0] < -101


def test_curve_of_a_learning_rate_of_zero_is_drawn() -> None:
    records = [record | {"lr": 0.0} for record in history(3)]
    [axes] = curve({"one": records}, "lr").axes
    assert axes.get_yscale() == "linear"
    assert axes.lines[0].get_ydata().tolist() == [0, 0, 0]


# Words on images


@pytest.mark.parametrize("width", [40.0, 200.0, 1000.0])
def test_words_are_wrapped_to_a_width(width: float) -> None:
    text = "from the 1st to the 99th percentile of the aggregate posterior, extraordinarily"
    lines = wrap(text, 14, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert (" ".join(lines) == text) == (width > 40)  # longer words are broken
    assert max(map(font(14).getlength, lines)) <= width
    for line, following in pairwise(lines):
        assert font(14).getlength(f"{line} {following.split()[0]}") > width
    assert wrap("", 14, width) == []


def test_numbers_are_counted_in_words() -> None:
    assert [count(num, "images") for num in (0, 1, 2, 10_000)] == [
        "0 images",
        "1 image",
        "2 images",
        "10,000 images",
    ]


# Latent maps


def test_map_names_classes_that_have_no_name_by_number() -> None:
    points, labels = torch.randn(40, 2), torch.tensor([0, 1, 5, 7]).repeat(10)
    figure = latent_map(points, labels, ["cat", "dog"], axis_names=["a", "b"], title="t")
    assert sorted(chip.get_text() for chip in chips(figure)) == ["5", "7", "cat", "dog"]
    [part] = figure.axes[0].collections
    found = {tuple(place): to_hex(ink) for place, ink in zip(part.get_offsets().tolist(), part.get_facecolor(), strict=True)}
    assert found == {
        tuple(place): COLORS[label] for place, label in zip(points.double().tolist(), labels.tolist(), strict=True)
    }


def test_points_of_a_map_are_in_random_order() -> None:
    labels = torch.arange(1000) // 500
    figure = latent_map(torch.randn(1000, 2), labels, ["cat", "dog"], axis_names=["a", "b"], title="t")
    inks = [to_hex(ink) for ink in figure.axes[0].collections[0].get_facecolor()]
    first = inks[:500].count(COLORS[0])
    assert 200 < first < 300
    assert sum(type(part).__name__.endswith("ContourSet") for part in figure.axes[0].collections) == 2
    assert figure.legends == []


def test_the_name_of_a_class_is_at_its_mode_and_not_in_a_hole() -> None:
    angle = torch.rand(600) * 2 * torch.pi
    ring = torch.stack([angle.cos(), angle.sin()], 1) * 3
    ring[:120] = torch.tensor([3.0, 0.0]) + 0.1 * torch.randn(120, 2)
    figure = latent_map(ring, torch.zeros(600, dtype=torch.long), ["ring"], axis_names=["a", "b"], title="t")
    [chip] = chips(figure)
    np.testing.assert_allclose(chip.xy, (3, 0), atol=0.3)


def test_names_of_classes_on_one_place_do_not_hide_each_other() -> None:
    points = torch.randn(500, 2).repeat(4, 1)
    figure = latent_map(points, torch.arange(2000) // 500, ["aa", "bb", "cc", "dd"], axis_names=["a", "b"], title="t")
    figure.draw_without_rendering()
    boxes = [chip.get_bbox_patch().get_window_extent() for chip in chips(figure)]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_contour_holds_its_share_of_the_points(share: float) -> None:
    points = torch.randn(2000, 2).double().numpy()
    found = density(points, [(-5.0, 5.0), (-5.0, 5.0)])
    level = found.level(points, share)
    rows, columns = (np.abs(points[:, [axis]] - grid_line).argmin(1) for axis, grid_line in ((1, found.y), (0, found.x)))
    assert (found.values[rows, columns] >= level).mean() == pytest.approx(share, abs=0.01)
    cell = (found.x[1] - found.x[0]) * (found.y[1] - found.y[0])
    assert found.values.sum() * cell > 0
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    assert abs(found.x[column]) < 0.6
    assert abs(found.y[row]) < 0.6


def chips(figure: Figure) -> list[Any]:
    """The names of classes on a map."""
    return [text for text in figure.axes[0].texts if text.get_bbox_patch() is not None]


@pytest.mark.parametrize("shift", [0.0, 300.0])
@pytest.mark.parametrize("num", [1, 2, 500])
def test_histogram_counts_all_wherever_they_lie(num: int, shift: float) -> None:
    points = shift + torch.randn(num, 1)
    figure = latent_map(points, None, [], axis_names=["z0"], title="t")
    [patch] = figure.axes[0].patches
    across, upward = patch.get_xy().T
    assert upward[1:-1:2].sum() == num
    assert across.min() <= points.min() <= points.max() <= across.max()


# Figures on any page

FAINT = "var(--faint)"

SPREAD = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
CHARTS: dict[str, tuple[Callable[[], Figure], set[str]]] = {
    "learning curves": (lambda: learning_curves(history(), "a run"), {ACCENT, SECOND}),
    "curve": (lambda: curve({"a": history(), "b": history(4)}, "elbo"), set(COLORS[:2])),
    "rates": (lambda: rate_plot(torch.tensor([3.0, 0.001]), torch.tensor([1.0, 0.001]), 0.01, 50), {ACCENT, SECOND}),
    "map": (
        lambda: latent_map(
            torch.arange(12.0).view(6, 2),
            torch.arange(6) % 3,
            ["a", "b", "c"],
            axis_names=["x", "y"],
            title="t",
            covariances=SPREAD.expand(6, 2, 2),
        ),
        set(COLORS[:3]),
    ),
    "histogram": (
        lambda: latent_map(torch.arange(6.0)[:, None], None, [], axis_names=["x"], title="t"),
        {ACCENT},
    ),
    "errors": (
        lambda: error_plot(torch.arange(20.0).view(4, 5), *torch.linspace(0, 1, 80).view(2, 2, 1, 4, 5), 7),
        set(),
    ),
}


@cache
def page(name: str) -> str:
    """A chart as it stands in a page."""
    return to_svg(CHARTS[name][0]())


@pytest.mark.parametrize("name", CHARTS)
def test_ink_of_a_chart_is_its_pages(name: str) -> None:
    text, own = page(name), CHARTS[name][1]
    head, body = text.split("</style>", 1)
    assert INK in head  # on a light page, and only there
    assert INK not in body.lower()
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    groups = [group for group in root.iter() if re.fullmatch(r"text_\d+", group.get("id", ""))]
    assert len(groups) > 4
    for group in groups:  # the names of classes on a map are on their color, and hatches on a color, on any page
        styles = [part.get("style", "") for part in group.iter()]
        assert any("currentColor" in style or FAINT in style for style in styles) or (
            any(ink in style for style in styles for ink in own | {"#ffffff"})
        )
    used = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", body))
    assert {"currentColor"} | {ink.lower() for ink in own} <= used
    fixed = {ink.lower() for ink in own} | {"#ffffff", "none", "currentColor", FAINT}
    assert {ink for ink in used if not ink.startswith("url(#")} <= fixed | (
        {"#000000"} if name in ("map", "rates") else set()
    )


@pytest.mark.parametrize("name", CHARTS)
def test_chart_needs_nothing_from_elsewhere_and_is_the_same_every_time(name: str) -> None:
    text = page(name)
    assert text.startswith("<svg")
    assert text == to_svg(CHARTS[name][0]())
    links = re.findall(r"(?:href|src)=\"([^\"]*)\"", text) + re.findall(r"url\(([^)]*)\)", text)
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.search(r"<script|@import|<!DOCTYPE|<!ENTITY", text)
