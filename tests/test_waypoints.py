"""Waypoints: classes, test images and image files by name, and their labels."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.linear_gallery import CLASSES, conditional, garments, linear_vae, means_of, noise
from vaekit.core.errors import DataError
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.waypoints import NUM_NEAREST


def test_waypoint_of_a_class_is_the_posterior_mean_nearest_its_center_and_another_each_time() -> None:
    gallery = Gallery(linear_vae(), garments())
    means = means_of(gallery)
    boots = torch.arange(1, 90, 3)
    distances = (means[boots] - means[boots].mean(0)).norm(dim=1)
    nearest = boots[distances.argsort()][:NUM_NEAREST]
    waypoints = gallery.waypoints(["boot"] * (NUM_NEAREST + 2) + ["1"])
    torch.testing.assert_close(waypoints.z[: NUM_NEAREST + 2], means[torch.cat([nearest, nearest[:2]])])
    torch.testing.assert_close(waypoints.z[-1], means[nearest[2]])
    assert len(torch.unique(waypoints.z, dim=0)) == NUM_NEAREST
    assert set(waypoints.captions) == {"boot"}
    assert waypoints.labels is None


def test_waypoint_are_classes_test_images_and_files(tmp_path: Path) -> None:
    gallery = Gallery(linear_vae(), garments())
    means = means_of(gallery)
    Image.fromarray(gallery.images.pixels[5, 0].numpy()).save(tmp_path / "five.png")
    Image.fromarray(gallery.images.pixels[6, 0].numpy()).save(tmp_path / "six.pgm")
    waypoints = gallery.waypoints(["@3", str(tmp_path / "five.png"), "@89", str(tmp_path / "six.pgm")])
    torch.testing.assert_close(waypoints.z, means[[3, 5, 89, 6]])
    assert waypoints.captions == ["test image 3", "five", "test image 89", "six"]


def test_files_take_the_given_labels_and_the_others_their_own(tmp_path: Path) -> None:
    gallery = conditional()
    for index in (5, 6):
        Image.fromarray(gallery.images.pixels[index, 0].numpy()).save(tmp_path / f"{index}.png")
    names = ["@4", str(tmp_path / "5.png"), "shirt", str(tmp_path / "6.png")]
    for given, labels in ((["boot"], [1, 1, 2, 1]), (["shirt", "sock"], [1, 2, 2, 0])):
        waypoints = gallery.waypoints(names, given)
        assert waypoints.labels is not None
        assert waypoints.labels.tolist() == labels
        with torch.no_grad():
            means = gallery.model.encode(gallery.images.pixels[4:7], torch.tensor(labels)[[0, 1, 3]]).mean
        torch.testing.assert_close(waypoints.z[[0, 1, 3]], means)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("hat", DataError, "hat: no such class"),
        ("shoe", DataError, "shoe: no such class"),
        ("@90", DataError, "@90: there are 90 test images, numbered from 0"),
        ("@-1", DataError, "@-1: a test image is named by its number"),
        ("@", DataError, "@: a test image is named by its number"),
        ("nowhere.png", DataError, "nowhere.png: no such image"),
    ],
)
def test_waypoint_that_is_none(name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Gallery(linear_vae(), garments()).waypoints(["@0", name])


def test_class_without_images_and_images_without_classes() -> None:
    images = noise(20, labels=torch.arange(20) % 2, classes=CLASSES)
    with pytest.raises(DataError, match="shirt: no test image"):
        Gallery(linear_vae(), images).waypoints(["shirt"])
    with pytest.raises(DataError, match="noise has no classes"):
        Gallery(linear_vae(), noise()).waypoints(["1"])


@pytest.mark.parametrize("name", ["boot", "Boot", "1"])
def test_file_named_like_a_class_does_not_take_its_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a boot, but no image")
    gallery = Gallery(linear_vae(), garments())
    assert gallery.waypoints([name]).captions == ["boot"]
    assert float((gallery.waypoints([name]).z - means_of(gallery)[1::3]).abs().amax(1).min()) < 1e-5
