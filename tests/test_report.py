"""Pages: what they say and show, by number, and that they need nothing but themselves."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageSequence

import vaekit
from tests.commands import done, one_line, vae
from vaekit.evaluation.estimate import Estimate
from vaekit.plots import grid
from vaekit.plots.planes import plane
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.latent_planes import visible_change
from vaekit.presentation.metric_text import MEANINGS, duration, is_bracket_wide, unit_of, value_of
from vaekit.reports.comparison import STRIP, comparison
from vaekit.reports.metric_table import Entry, columns_of, rows_of
from vaekit.reports.page import PageImage, Section, embed_image
from vaekit.reports.run_report import IMAGE_SIZE, MIN_CHANGE, filled, run_report
from vaekit.reports.verdict import of_generalization, of_latents, of_length
from vaekit.runs.run_folder import METRICS, RECIPE, REPORT, RunFolder


class Page(HTMLParser):
    """A page taken apart: its images, links, names and the words of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.words: dict[str, list[str]] = {}
        self.best: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.add(tag)
        if tag == "img":
            self.images.append(found)
        if "href" in found:
            self.links.append(found["href"])
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "td" and "best" in found.get("class", "").split():
            self.best.append(found["data-label"])
        if tag not in ("img", "meta", "link", "br"):
            self._open.append(tag)
            self.words.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.words[tag][-1] += data

    def image(self, start: str) -> Image.Image:
        """The image whose alternative text starts so."""
        (found,) = [image for image in self.images if image["alt"].startswith(start)]
        return Image.open(io.BytesIO(base64.b64decode(found["src"].split(",", 1)[1])))


def embedded(image: Image.Image) -> np.ndarray:
    """The pixels of an image as a page has them, which is compressed."""
    source = embed_image(image, "").source
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))))


def report(run: RunFolder, path: Path) -> Page:
    run_report(run, run.gallery).save(path)
    return Page(path.read_text())


@pytest.fixture(scope="module")
def page(trained: Path) -> Page:
    """The page that training wrote."""
    return Page((trained / REPORT).read_text())


def test_page_needs_nothing_but_itself(page: Page, trained: Path) -> None:
    text = (trained / REPORT).read_text()
    assert not page.tags & {"script", "iframe", "object", "embed", "video", "audio", "form"}
    assert all(image["src"].startswith("data:image/") for image in page.images)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|srcset", text)
    assert str(trained.parent) not in text


def test_images_have_words_and_sizes(page: Page) -> None:
    assert len(page.images) == 2 + 1 + 1 + 1 + 8 + 3 + 4 + 1 + 1
    for image in page.images:
        assert len(image["alt"]) > 20
        assert int(image["width"]) > 100
        assert int(image["height"]) > 30
    assert len({image["alt"] for image in page.images}) == len(page.images)


def test_links_lead_somewhere_and_names_are_given_once(page: Page) -> None:
    assert len(set(page.ids)) == len(page.ids)
    inside = [link.removeprefix("#") for link in page.links if link.startswith("#")]
    assert set(inside) <= set(page.ids)
    assert {"main", "metrics", "learning-curves", "traversals", "manifold", "latent-space", "rates", "reproduce"} <= set(
        inside
    )


def test_numbers_are_the_runs_with_their_meaning(page: Page, trained: Path) -> None:
    metrics = RunFolder(trained).metrics
    rows = [" ".join(row.split()) for row in page.words["tr"][1:]]
    keys = [key for key in MEANINGS if key in metrics]
    assert len(rows) == len(keys) == 8
    for row, key in zip(rows, keys, strict=True):
        name, meaning = MEANINGS[key]
        value = value_of(key, metrics[key]).replace("-", "−")
        assert row == f"{name}{value}{unit_of(key, metrics[key])}{meaning}"
    assert any("359 test images of digits" in text for text in page.words["p"])


def test_recipe_on_the_page_is_the_runs(page: Page, trained: Path) -> None:
    _, recipe = page.words["pre"]
    assert yaml.safe_load(recipe) == yaml.safe_load((trained / RECIPE).read_text())
    facts = dict(zip(page.words["dt"][3:], page.words["dd"][3:], strict=True))
    assert facts["images"] == "digits, 1×8×8 pixels: 1,294 training, 144 validation, 359 test"
    assert facts["training"].startswith("3 epochs, 63 steps, ")
    assert facts["seed"] == "0"


def test_images_on_the_page_are_the_models(page: Page, trained: Path) -> None:
    gallery = RunFolder(trained).gallery.looking(size=IMAGE_SIZE, caption="")
    for start, expected in (
        ("40 test images", gallery.reconstructions(40)),
        ("60 samples from the prior", gallery.samples(60, columns=10)),
        ("20 rows of 20 images", plane(gallery.plane(20).images, look=gallery.look)),
    ):
        np.testing.assert_array_equal(np.asarray(page.image(start)), embedded(expected))
    found = gallery.traverse(8, torch.linspace(0, 1, 11))
    strips = [image for image in page.images if image["alt"].startswith("One latent")]
    assert len(strips) == 8
    for row, (strip, latent) in enumerate(zip(strips, found.latents, strict=True)):
        assert f": z{latent} · {gallery.encodings.rates[latent]:.2f} nats, from " in strip["alt"]
        np.testing.assert_array_equal(
            np.asarray(page.image(strip["alt"])),
            embedded(grid(found.images[row], 11, marks=[10 * found.own[row]], look=gallery.look)),
            err_msg=strip["alt"],
        )
    animation = page.image("An animation through 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")
    assert sum(1 for _ in ImageSequence.Iterator(animation)) in (10 * 9, 10 * 9 - 1)  # equal frames are one


def test_charts_follow_the_readers_page(page: Page) -> None:
    charts = [image for image in page.images if image["src"].startswith("data:image/svg")]
    assert len(charts) == 3 + 4 + 3
    assert "Other curves" in page.words["summary"]
    for chart in charts:
        text = base64.b64decode(chart["src"].split(",", 1)[1]).decode()
        assert "currentColor" in text
        assert "prefers-color-scheme:dark" in text


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be changed."""
    return shutil.copytree(trained, tmp_path / "copy")


def test_run_that_has_not_ended_has_a_page_that_says_so(copy: Path, tmp_path: Path) -> None:
    (copy / METRICS).unlink()
    page = report(RunFolder(copy), tmp_path / "x.html")
    assert "table" not in page.tags
    assert any("not finished" in text for text in page.words["p"])
    assert len(page.images) == 22
    best = max(RunFolder(copy).history, key=lambda record: record["valid"]["elbo"])
    assert page.words["strong"] == [f"{best['valid']['elbo']:.2f}".replace("-", "−")]


def test_words_of_strangers_are_words_on_the_page(copy: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((copy / RECIPE).read_text())
    (copy / RECIPE).write_text(yaml.safe_dump(recipe | {"title": "<script>alert(1)</script> & more"}))
    page = report(RunFolder(copy), tmp_path / "x.html")
    assert "script" not in page.tags
    assert "<script>alert(1)</script> & more" in page.words["p"]


@pytest.mark.parametrize(
    ("shape", "latent_dim", "classes"),
    [((1, 9, 5), 1, 0), ((3, 16, 12), 2, 12), ((3, 8, 8), 64, 2), ((1, 8, 8), 64, 0)],
)
def test_any_images_and_latents_make_a_page(
    shape: tuple[int, int, int], latent_dim: int, classes: int, tmp_path: Path
) -> None:
    pixels = torch.randint(0, 256, (60, *shape), dtype=torch.uint8)
    labels = torch.arange(60) % classes if classes else None
    images = vaekit.ImageSet(pixels, labels, tuple(f"class {c}" for c in range(classes)), name="noise")
    options: dict[str, Any] = {"epochs": 1, "latent_dim": latent_dim, "evaluation.num_samples": 0}
    run = vaekit.train("digits", images, test=images, out=tmp_path / "run", **options)
    page = Page((run.folder / REPORT).read_text())
    assert len([image for image in page.images if image["alt"].startswith("One latent")]) == min(8, latent_dim)
    rows = 1 if latent_dim == 1 else 20
    gallery = Gallery(vaekit.load(run.folder), images)
    shown = latent_dim <= 2 or visible_change(gallery, gallery.plane(20).images) >= MIN_CHANGE
    assert any(image["alt"].startswith(f"{rows} rows of 20 images") for image in page.images) == shown
    evenly = {0: (0, 11, 23, 35, 47, 59), 12: (0, 1, 2, 3, 4, 6, 7, 8, 9, 11)}.get(classes, range(classes))
    waypoints = [f"class {n}" if classes else f"train image {n}" for n in evenly]
    assert page.image(f"An animation through {', '.join(waypoints)} and back").width >= 224
    assert any("noise" in words for words in page.words["dd"])


def test_report_goes_into_the_run_or_elsewhere(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / REPORT).unlink()
    assert done("report", copy) == f"{copy / REPORT}\n"
    monkeypatch.chdir(tmp_path)
    assert done("report", copy, "-o", "x.html") == "x.html\n"
    assert (tmp_path / "x.html").read_text() == (copy / REPORT).read_text()


def change(folder: Path, **numbers: Any) -> RunFolder:
    """Changes the final numbers of a run: by key, or what they are of by ``data``."""
    metrics = json.loads((folder / METRICS).read_text())
    for key, value in numbers.items():
        metrics[key] = {**metrics[key], **value} if isinstance(value, dict) else value
    (folder / METRICS).write_text(json.dumps(metrics))
    return RunFolder(folder)


def compare(runs: list[RunFolder], path: Path) -> Page:
    comparison(runs).save(path)
    return Page(path.read_text())


def three(trained: Path, tmp_path: Path) -> list[Path]:
    return [shutil.copytree(trained, tmp_path / name) for name in ("first", "second", "third")]


def test_comparison_marks_the_best_and_what_is_within_two_standard_errors(trained: Path, tmp_path: Path) -> None:
    first, second, third = three(trained, tmp_path)
    runs = [
        change(first, elbo={"value": 30.0, "standard_error": 1.0}, psnr={"value": 20.0, "standard_error": 0.1}),
        change(second, elbo={"value": 27.5, "standard_error": 1.0}, psnr={"value": 21.0, "standard_error": 0.1}),
        change(third, elbo={"value": 26.5, "standard_error": 1.0}, psnr={"value": 19.0, "standard_error": 0.1}),
    ]
    page = compare(runs, tmp_path / "x.html")
    cells = {
        run.folder.name: Page(f"<table><tr{row}") for run, row in zip(runs, split_rows(tmp_path / "x.html"), strict=True)
    }
    # The difference of 2.5 is below two standard errors of it, 2 * sqrt(2) = 2.83; that of 3.5 is not.
    assert cells["first"].best == ["ELBO", "log p(x), IW", "SSIM"]
    assert cells["second"].best == ["ELBO", "log p(x), IW", "PSNR", "SSIM"]
    assert cells["third"].best == ["log p(x), IW", "SSIM"]
    assert len(page.images) == 3 + 4 + 1 + 3
    assert [name for name in page.words["li"] if name in cells] == ["first", "second", "third"]  # the only legend
    elbo_bars = [re.findall(r"width: (\d+)%", row)[0] for row in split_rows(tmp_path / "x.html")]
    assert elbo_bars == ["100", str(round(4 + 96 * 1 / 3.5)), "4"]
    assert page.words["h1"] == ["Comparison of first, second, third"]


def split_rows(path: Path) -> list[str]:
    """The lines of a comparison's table, as they are written."""
    body = path.read_text().split("<tbody>")[1].split("</tbody>")[0]
    return body.split("<tr")[1:]


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"fingerprint": "another"}},
        {"data": {"pixels": "binarized once with seed 0"}},
        {"data": {"num_images": 100}},
    ],
)
def test_numbers_of_other_images_are_not_compared(other: dict[str, Any], trained: Path, tmp_path: Path) -> None:
    first, second, _ = three(trained, tmp_path)
    page = compare([RunFolder(first), change(second, **other)], tmp_path / "x.html")
    assert page.best == []


def test_numbers_of_another_meaning_or_sampling_are_not_compared(trained: Path, tmp_path: Path) -> None:
    first, second, third = three(trained, tmp_path)
    change(second, meaning="cross-entropy, not a likelihood", elbo={"value": 1e9})
    page = compare([RunFolder(first), RunFolder(second)], tmp_path / "x.html")
    assert page.best == ["PSNR", "SSIM"] * 2
    assert len([text for text in page.words["p"] if "cross-entropy, not a likelihood" in text]) == 1
    change(third, log_likelihood={"num_samples": 5000, "value": 1e9})
    page = compare([RunFolder(first), RunFolder(third)], tmp_path / "y.html")
    assert page.best == ["ELBO", "PSNR", "SSIM"] * 2


def test_comparison_shows_the_same_images_through_each_model(
    trained: Path, trained_conditional: Path, tmp_path: Path
) -> None:
    page = compare([RunFolder(trained), RunFolder(trained_conditional)], tmp_path / "x.html")
    images = vaekit.load_images("digits", "test").spread(10, 0)
    strips = {
        "10 test images.": images.pixels,
        "The same images reconstructed by digits.": vaekit.load(trained).reconstruct(images.pixels),
        "The same images reconstructed by digits-conditional.": vaekit.load(trained_conditional).reconstruct(
            images.pixels, images.labels
        ),
    }
    for alt, pixels in strips.items():
        np.testing.assert_array_equal(np.asarray(page.image(alt)), embedded(grid(pixels, 10, look=STRIP)))


def test_runs_of_one_name_are_called_by_their_paths(trained: Path, tmp_path: Path) -> None:
    a, b = (shutil.copytree(trained, tmp_path / place / "run") for place in ("a", "b"))
    page = compare([RunFolder(a), RunFolder(b)], tmp_path / "x.html")
    assert page.words["h1"] == [f"Comparison of {a}, {b}"]


def test_compare_writes_to_the_output_path(trained: Path, trained_conditional: Path, tmp_path: Path) -> None:
    assert done("compare", trained, trained_conditional, "-o", tmp_path / "x.html") == f"{tmp_path / 'x.html'}\n"
    assert "Comparison of digits, digits-conditional" in (tmp_path / "x.html").read_text()


def test_comparison_of_what_cannot_be_compared(trained: Path, copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.html"
    for args, says in (
        ([trained], ("at least two runs",)),
        ([trained, trained], ("twice",)),
        ([trained, tmp_path], ("recipe.yaml",)),
        ([trained, tmp_path / "none"], ("none",)),
    ):
        one_line(vae("compare", *args, "-o", target), *says)
    (copy / METRICS).unlink()
    one_line(vae("compare", trained, copy, "-o", target), "metrics.json", "--resume")
    one_line(vae("report", tmp_path, "-o", target), "config.json")
    (tmp_path / "file").touch()
    one_line(vae("report", trained, "-o", tmp_path / "file" / "x.html"), "not a folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file"]


def test_gallery_without_images_says_so(trained: Path) -> None:
    with pytest.raises(vaekit.VaekitError, match="needs images"):
        Gallery(vaekit.load(trained)).manifold()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.1234, "0.123 s"), (59.4, "59.4 s"), (61, "1 min 1 s"), (650.4, "10 min 50 s"), (7322, "2 h 2 min")],
)
def test_times_are_written_as_people_read_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "error", "wide"),
    [(0.3, 0.1, False), (0.6, 0.1, False), (0.8, 0.1, True), (232.0, 107.0, True), (9.0, 5.0, False)],
)
def test_a_bracket_is_wide_by_two_standard_errors(value: float, error: float, wide: bool) -> None:
    gap = Estimate(value, error, "nats", 10)
    assert is_bracket_wide(gap) is wide


# The verdict


def records(*elbos: float, train: float = -10.0) -> list[dict[str, Any]]:
    """The epochs of a run by their validation ELBO."""
    return [
        {"epoch": number + 1, "train": {"elbo": train}, "valid": {"elbo": elbo}, "best": elbo == max(elbos[: number + 1])}
        for number, elbo in enumerate(elbos)
    ]


def test_the_verdict_is_in_words() -> None:
    assert "All 8 latents are active" in of_latents(8, 8)
    assert "3 of 8 latents are active; the other 5 latents carry no information" in of_latents(3, 8)
    assert "collapsed" in of_latents(0, 8)
    assert "epoch 2 of 4 were kept" in of_length(records(-30.0, -10.0, -11.0, -12.0))
    assert "rose by 2.00 nats in the last epoch: more epochs would help." in of_length(records(-30.0, -12.0, -10.0))
    assert "more epochs would help little" in of_length(records(-30.0, -10.001, -10.0))
    assert "Both latents are active." in of_latents(2, 2)
    assert "differs by 0.50 nats" in of_generalization(records(-30.0, -10.5))


def test_a_model_overfits_if_it_has_a_gap_and_its_validation_elbo_falls() -> None:
    for falls in ((), (-15.0, -15.4), (-15.0, -16.0, -15.4)):  # by at most a tenth of the gap in the end
        text = of_generalization(records(-30.0, -15.0, *falls))
        assert "is 5.00 nats above that of validation images" in text
        assert "overfits" not in text
    assert "It overfits: " in of_generalization(records(-30.0, -15.0, -15.6))
    assert "fell by 0.60 nats after the kept epoch" in of_generalization(records(-30.0, -15.0, -15.6))


# Groups of seeds, and bounds given the class


def test_seeds_of_one_recipe_are_a_group_with_mean_and_spread(trained: Path, tmp_path: Path) -> None:
    folders = three(trained, tmp_path)
    runs = []
    for seed, (folder, elbo) in enumerate(zip(folders, (30.0, 32.0, 34.0), strict=True)):
        recipe = yaml.safe_load((folder / RECIPE).read_text())
        recipe["training"]["seed"] = seed
        (folder / RECIPE).write_text(yaml.safe_dump(recipe))
        runs.append(change(folder, elbo={"value": elbo}))
    page = compare(runs, tmp_path / "x.html")
    rows = page.words["tr"][1:]
    assert len(rows) == 4
    assert "digits, 3 seeds" in rows[0]
    assert "mean ± standard deviation over 3 seeds" in rows[0]
    assert "32.0 ± 2.0" in rows[0] or "32.00 ± 2.00" in rows[0]
    assert ["seed 0; " in rows[1], "seed 1; " in rows[2], "seed 2; " in rows[3]] == [True] * 3
    assert page.best == []  # one group alone is not the best of anything
    assert "first, second, third" in page.words["li"]


def test_bounds_given_the_class_are_apart_and_not_ranked_with_the_others() -> None:
    data = {"fingerprint": "f", "split": "test", "pixels": "gray levels", "num_images": 9, "shape": [1, 2, 2]}

    def metrics(elbo: float, **more: Any) -> dict[str, Any]:
        number = {"value": elbo, "standard_error": 0.1, "unit": "nats per image", "num_images": 9}
        psnr = {"value": 20.0, "standard_error": 0.1, "unit": "dB", "num_images": 9}
        return {"data": data, "meaning": "log p(x)", "elbo": number, "psnr": psnr} | more

    runs = [metrics(-100.0), metrics(-101.0), metrics(-90.0, num_classes=10)]
    columns = columns_of(runs)
    assert [column.name for column in columns] == ["ELBO", "ELBO of log p(x | class)", "PSNR"]
    rows = rows_of(
        [Entry(name, "", [run], number) for number, (name, run) in enumerate(zip("abc", runs, strict=True))], columns
    )
    plain, given, _ = columns
    assert [row.cells[plain].best for row in rows if plain in row.cells] == [True, False]
    [told] = [row.cells[given] for row in rows if given in row.cells]
    assert (told.best, told.bar) == (False, None)


def test_the_report_of_a_conditional_run_names_its_bound(trained_conditional: Path) -> None:
    page = Page((trained_conditional / REPORT).read_text())
    assert page.words["dt"][0] == "ELBO of log p(x | class)"
    assert any("do not compare them with log p(x)" in text for text in page.words["p"])


# Where sections stand


def test_no_section_stands_beside_an_empty_half() -> None:
    image = PageImage("data:,", (1, 1), "")
    one, many = Section("one", "", [image]), Section("many", "", [image, image], "rows")
    wide = Section("wide", "", [image], wide=True)
    found = filled([one, one, many, wide, one, many])
    assert [section.wide for section in found] == [False, False, True, True, False, False]
    assert found[2].layout == "figures"
    assert filled([one, many, wide]) == [one, many, wide]
