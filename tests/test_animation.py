"""Animations: the latents that their frames decode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

import vaekit
from tests.animation_frames import closest, eased, find, shrunk
from tests.linear_gallery import (
    conditional,
    garments,
    linear_vae,
    means_of,
    noise,
)
from vaekit.core.errors import DataError, ModelError
from vaekit.core.units import to_gray_levels
from vaekit.experiment.train import run
from vaekit.networks import Shape
from vaekit.plots.frames import enlarge, frame_durations
from vaekit.plots.look import odd
from vaekit.presentation import animations
from vaekit.presentation.animations import DIGIT_HOLD, HOLD, animate_waypoints, digits_of_pi
from vaekit.presentation.gallery import Gallery
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder

PI = "31415926535897932384626433832795028841971693993751"


# The latents that frames decode


@pytest.mark.parametrize("path", ["linear", "spherical"])
@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 7)])
def test_animation_decodes_the_way_through_its_stops(shape: Shape, path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animations, "CHUNK_SIZE", 4)
    gallery = Gallery(linear_vae(shape=shape), garments(shape=shape))
    animation = gallery.animation(["sock", "@4", "@11"], steps=3, hold=500, size=40, path=path)
    waypoints = gallery.waypoints(["sock", "@4", "@11"])
    expected = gallery.model.decode_path(waypoints.z, torch.tensor(eased(3, 3)), path=path)
    factor = odd(40 / max(shape))
    assert len(animation.frames) == 12
    assert animation.durations == [500, *frame_durations(3)] * 3
    images = torch.stack([shrunk(frame, shape, factor) for frame in animation.frames])
    assert closest(images, to_gray_levels(expected)) <= 1
    held = to_gray_levels(gallery.model.decode_mean(means_of(gallery)[4][None]))[0]
    assert closest(images[4], held) <= 1
    assert (images.flatten(1)[:, None].int() - images.flatten(1).int()).abs().amax(-1).add(torch.eye(12) * 9).min() > 2


def test_animation_of_a_conditional_model_tells_it_the_classes(tmp_path: Path) -> None:
    gallery = conditional()
    Image.fromarray(gallery.images.pixels[7, 0].numpy()).save(tmp_path / "x.png")
    names = ["sock", str(tmp_path / "x.png"), "@1"]
    animation = gallery.animation(names, steps=1, size=6, labels=["shirt"])
    waypoints = gallery.waypoints(names, ["shirt"])
    assert waypoints.labels is not None
    assert waypoints.labels.tolist() == [0, 2, 1]
    contexts = 3**0.5 * torch.eye(3)[waypoints.labels]
    z, halves = waypoints.z, [(waypoints.z[i] + waypoints.z[(i + 1) % 3]) / 2 for i in range(3)]
    with torch.no_grad():
        for place in range(3):
            for frame, point, context in (
                (animation.frames[2 * place], z[place], contexts[place]),
                (animation.frames[2 * place + 1], halves[place], (contexts[place] + contexts[(place + 1) % 3]) / 2),
            ):
                expected = gallery.model.decoder(point[None], context[None]).sigmoid()[0]
                assert closest(shrunk(frame, (1, 6, 5), 1), to_gray_levels(expected)) <= 1


def test_class_that_is_visited_again_looks_different() -> None:
    gallery = Gallery(linear_vae(), garments())
    animation = gallery.animation(["boot", "boot", "sock", "boot"], steps=0, size=6)
    shown = [shrunk(frame, (1, 6, 5), 1) for frame in animation.frames]
    boots = torch.arange(1, 90, 3)
    means = means_of(gallery)[boots]
    nearest = means[(means - means.mean(0)).norm(dim=1).argsort()[:3]]
    for place, image in zip((0, 1, 3), to_gray_levels(gallery.model.decode_mean(nearest)), strict=True):
        assert closest(shown[place], image) <= 1
    assert min(closest(shown[a], shown[b]) for a, b in ((0, 1), (0, 3), (1, 3))) > 2


def test_animation_of_unlabeled_images_passes_them_by_number() -> None:
    gallery = Gallery(linear_vae(2), noise(5))
    animation = gallery.animation(["@0", "@4"], steps=1, size=6)
    expected = to_gray_levels(gallery.model.decode_mean(means_of(gallery)[[0, 4]]))
    assert closest(torch.stack([shrunk(animation.frames[k], (1, 6, 5), 1) for k in (0, 2)]), expected) <= 1
    with pytest.raises(DataError, match="noise has no classes"):
        gallery.animation(["0", "1"])
    with pytest.raises(DataError, match=r"pi needs.*classes"):
        gallery.pi_animation(4)


@pytest.mark.parametrize("waypoints", [[], ["boot"]])
def test_animation_of_one_waypoint_is_none(waypoints: list[str]) -> None:
    with pytest.raises(DataError, match=f"two waypoints.*{len(waypoints)}"):
        Gallery(linear_vae(), garments()).animation(waypoints)


@pytest.mark.parametrize(("num", "columns"), [(1, 1), (2, 1), (4, 2), (5, 2)])
def test_animation_of_traversals_moves_every_latent_through_its_range(num: int, columns: int) -> None:
    gallery = Gallery(linear_vae(5), noise(100))
    animation = gallery.traversal_animation(num, steps=3, size=40, start="@2")
    weights = torch.tensor([0, 0.25, 0.75, 1, 0.75, 0.25])
    found = gallery.traverse(num, weights, "@2")
    assert len(animation.frames) == 6
    assert animation.durations == frame_durations(6)
    for step, frame in enumerate(animation.frames):
        places = [find(frame, enlarge(found.images[row, step][None], 150)[0]) for row in range(num)]
        rows, lefts = sorted({y for [(y, _)] in places}), sorted({x for [(_, x)] in places})
        assert [(rows.index(y), lefts.index(x)) for [(y, x)] in places] == [divmod(row, columns) for row in range(num)]


# Pi


def test_digits_of_pi_are_those_of_pi() -> None:
    assert digits_of_pi(50) == PI
    assert [digits_of_pi(num) for num in range(2, 50)] == [PI[:num] for num in range(2, 50)]
    assert digits_of_pi(1000)[760:770] == "3499999983"  # six nines in a row, where rounding would show
    assert digits_of_pi(762 + 6) == digits_of_pi(1000)[: 762 + 6]
    assert len(digits_of_pi(1000)) == 1000


@pytest.mark.parametrize("num", [1, 0, -3, 10_001, 10**9])
def test_so_many_digits_of_pi_cannot_be(num: int) -> None:
    with pytest.raises(DataError, match=r"digits of pi.*10,000"):
        digits_of_pi(num)


def test_animation_of_pi_walks_through_the_classes_of_its_digits(trained: Path) -> None:
    gallery = RunFolder(trained).gallery
    animation = gallery.pi_animation(5, steps=2, size=80, path="spherical")
    same = animate_waypoints(
        gallery, list("31415"), steps=2, hold=DIGIT_HOLD, size=80, path="spherical", captions=["3.", "1", "4", "1", "5"]
    )
    assert animation.durations == [DIGIT_HOLD, *frame_durations(2)] * 5
    assert [frame.tobytes() for frame in animation.frames] == [frame.tobytes() for frame in same.frames]
    waypoints = gallery.waypoints(list("31415"))
    labels = gallery.images.labels
    assert labels is not None
    for name, z in zip("31415", waypoints.z, strict=True):
        [row] = (gallery.encodings.means == z).all(1).nonzero().flatten().tolist()
        assert int(labels[row]) == int(name)
    expected = to_gray_levels(gallery.model.decode_path(waypoints.z, torch.tensor(eased(5, 2)), path="spherical"))
    assert closest(torch.stack([shrunk(frame, (1, 8, 8), 11) for frame in animation.frames]), expected) <= 1


# A model that has learned


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits that is long enough to tell them apart."""
    overrides = {"epochs": 12, "lr": 0.006, "beta": 0.5, "evaluation.num_samples": 0, "training.images_every": 4}
    return run(load_recipe("digits", overrides), tmp_path_factory.mktemp("animations") / "run").folder


@pytest.fixture(scope="module")
def judge() -> KNeighborsClassifier:
    """A classifier of the labeled digits, right on more than 97 of 100 that it has not seen."""
    train, test = vaekit.load_images("digits", "train"), vaekit.load_images("digits", "test")
    found = KNeighborsClassifier(5).fit(train.pixels.flatten(1), train.labels)
    assert found.score(test.pixels.flatten(1), test.labels) > 0.97
    return found


def test_animation_from_one_to_nine_starts_with_a_one_and_holds_a_nine(learned: Path, judge: KNeighborsClassifier) -> None:
    animation = RunFolder(learned).gallery.animation(["1", "9"], steps=10, size=280)
    assert animation.durations == [HOLD, *frame_durations(10)] * 2
    shown = torch.stack([shrunk(frame, (1, 8, 8), 35) for frame in animation.frames])
    named = judge.predict(shown.flatten(1)).tolist()
    assert (named[0], named[11], named[-1]) == (1, 9, 1)


def test_class_is_where_its_waypoint_is(learned: Path, judge: KNeighborsClassifier) -> None:
    gallery = RunFolder(learned).gallery
    waypoints = gallery.waypoints([str(digit) for digit in range(10) for _ in range(3)])
    images = to_gray_levels(gallery.model.decode_mean(waypoints.z))
    named = judge.predict(images.flatten(1))
    assert (named == np.arange(10).repeat(3)).mean() > 0.9


def test_file_of_a_nine_leads_to_a_nine(learned: Path, judge: KNeighborsClassifier, tmp_path: Path) -> None:
    gallery = RunFolder(learned).gallery
    [nine, *_] = gallery.encodings.means.eq(gallery.waypoints(["9"]).z[0]).all(1).nonzero().flatten().tolist()
    enlarge(gallery.images.pixels[nine][None], 8)[0].save(tmp_path / "nine.png")
    animation = gallery.animation(["1", str(tmp_path / "nine.png")], steps=4, size=8)
    named = judge.predict(torch.stack([shrunk(animation.frames[k], (1, 8, 8), 1) for k in (0, 5)]).flatten(1))
    assert named.tolist() == [1, 9]


def test_label_for_a_animation_of_a_model_without_classes() -> None:
    with pytest.raises(ModelError, match="not conditional"):
        Gallery(linear_vae(), garments()).animation(["sock", "boot"], labels=["sock"])
