"""Which images are scored and encoded, what is said about them, and under which names the tables are written."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.commands import done, vae
from tests.test_scoring import folder_of, table
from vaekit.experiment.selection import select
from vaekit.export.tables import write_table
from vaekit.plots.contact_sheet import NAME_SIZE, contact_sheet, name_lines
from vaekit.plots.style import font
from vaekit.runs.lock import locked
from vaekit.runs.run_folder import RunFolder
from vaekit.runs.unfinished import unfinished_line


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be written to."""
    return shutil.copytree(trained, tmp_path / "run")


def published(path: Path) -> Path:
    """A folder with test images of its own: five training and three test images."""
    folder_of(path, [f"train/{number}.png" for number in range(5)])
    return folder_of(path, [f"test/{number}.png" for number in range(3)], seed=1)


def test_all_images_are_the_default_where_the_data_has_no_test_images(trained: Path, tmp_path: Path) -> None:
    folder = RunFolder(trained)
    chosen, test = select(folder, None), folder.images(binarized=False)
    assert (len(chosen.images), chosen.num_others, chosen.title) == (1797, 0, "1,797 images of digits")
    assert chosen.remark == "1,438 train and 359 test images (column split)"
    is_test = torch.tensor([split == "test" for split in chosen.splits])
    assert torch.equal(chosen.images.pixels[is_test], test.pixels)
    assert set(chosen.splits) == {"train", "test"}
    other = select(folder, str(folder_of(tmp_path / "mine", ["b.png", "a.png", "c.png"])))
    assert (other.images.names, other.splits, other.remark) == (("a.png", "b.png", "c.png"), ("all",) * 3, "")


def test_the_test_images_are_the_default_where_there_are_some(trained: Path, tmp_path: Path) -> None:
    folder, source = RunFolder(trained), str(published(tmp_path / "set"))
    chosen = select(folder, source)
    assert (chosen.title, chosen.remark) == ("3 test images of set", "5 others: --split all")
    whole = select(folder, source, "all")
    assert (whole.splits, whole.num_others) == (("train",) * 5 + ("test",) * 3, 0)
    assert whole.images.names == tuple(f"{split}/{n}.png" for split, num in (("train", 5), ("test", 3)) for n in range(num))
    assert torch.equal(whole.images.pixels[5:], chosen.images.pixels)
    assert select(folder, source, "train").num_others == 3


def test_a_measurement_is_on_images_that_were_not_trained_on(trained: Path, tmp_path: Path) -> None:
    folder, other = RunFolder(trained), str(folder_of(tmp_path / "mine", ["a.png", "b.png"]))
    assert set(select(folder, None, measured=True).splits) == {"test"}
    assert len(select(folder, other, measured=True).images) == 2
    assert len(select(folder, None, "all", measured=True).images) == 1797


def test_a_single_image_is_all(trained: Path, tmp_path: Path) -> None:
    one = str(folder_of(tmp_path / "one", ["a.png"]) / "a.png")
    for split in (None, "train", "test", "all"):
        chosen = select(RunFolder(trained), one, split)
        assert (len(chosen.images), chosen.num_others, chosen.remark) == (1, 0, "")


def test_tables_of_other_images_have_other_names(run: Path, tmp_path: Path) -> None:
    mine = folder_of(tmp_path / "mine", ["a.png", "b.png", "c.png"])
    for command, table_name in (("score", "scores-mine"), ("embed", "latents-mine")):
        out = done(command, run, f"{mine}/").splitlines()
        [path] = run.glob(f"{table_name}*.csv")
        assert str(path) in out
        assert set(table(path)["split"]) == {"all"}
    assert done("score", run, f"{mine}/", "--resort", "elbo").splitlines()[-2] == str(next(run.glob("scores-mine*.csv")))
    assert not (run / "scores.csv").exists()


def test_an_order_changes_no_digit(run: Path, tmp_path: Path) -> None:
    mine, path = folder_of(tmp_path / "mine", ["a.png", "b.png"]), tmp_path / "x.csv"
    values = {"elbo": [0.12345678901234567, -1.0 / 3], "latent": [2.0, 1e-300]}
    write_table({"rank": [1, 2], "name": ["a.png", "b.png"], "data": ["mine"] * 2, "row": [0, 1]} | values, path)
    done("score", run, mine, "--resort", "elbo", "-o", path)
    with path.open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert [[float(rows[name][key]) for name in ("a.png", "b.png")] for key in values] == list(values.values())
    assert rows["b.png"]["rank"] == "1"


def test_a_run_that_is_not_finished_says_so(run: Path, tmp_path: Path) -> None:
    assert unfinished_line(run) == ""
    with locked(run):
        assert "still being trained" in unfinished_line(run)
    (run / "metrics.json").unlink()
    line = unfinished_line(run)
    assert "not finished" in line
    assert f"vae train --resume {run}" in line
    outcome = vae("embed", run, "-o", tmp_path / "x.csv")
    assert (outcome.code, outcome.err) == (0, f"{line}\n")


def test_names_on_a_contact_sheet_keep_both_ends() -> None:
    name = "IMG_2026-07-24_temple_of_the_morning_168x080_edited_final_version.jpg"
    lines = name_lines(name, 136)
    assert len(lines) == 2
    assert max(font(NAME_SIZE).getlength(line) for line in lines) <= 140
    start, end = "".join(lines).split("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert min(len(start), len(end)) > 10
    assert name_lines("odd.png", 136) == ["odd.png"]
    assert name_lines("holiday_in_the_summer_2026.jpg", 120) == ["holiday_in_the_", "summer_2026.jpg"]
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    plain, named = contact_sheet(images, ["1", "2"], "t"), contact_sheet(images, ["1", "2"], "t", names=["a", name])
    assert named.width == plain.width
    assert named.height > plain.height + 2 * NAME_SIZE


def test_the_sheet_of_some_images_says_of_how_many(tmp_path: Path) -> None:
    for number in range(61):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / "set" / f"{number}.png")
    out = done("data", tmp_path / "set", "-o", tmp_path / "x.png")
    assert "splits: the source has no test images, so 12 of 61 are held out at random" in out
    out = done("data", published(tmp_path / "two"), "-o", tmp_path / "x.png")
    assert "splits: train to train on, test to test on" in out
