"""Classes whose names are numbers, hold commas or accents: every option means the class that a reader expects."""

import unicodedata
from pathlib import Path

import pytest
import torch

from tests.linear_gallery import linear_vae
from vaekit.core.errors import DataError, class_index
from vaekit.data import ImageSet
from vaekit.models import ClassLabel
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.waypoints import split_names

TWELVE = [str(number) for number in range(1, 13)]


def gallery_of(*names: str) -> Gallery:
    """A gallery of images of these classes."""
    pixels = torch.randint(0, 256, (2 * len(names), 1, 6, 5), dtype=torch.uint8)
    return Gallery(linear_vae(), ImageSet(pixels, torch.arange(2 * len(names)) % len(names), names))


@pytest.mark.parametrize("word", ["0", "13", "00"])
def test_a_number_is_no_index_where_classes_are_named_by_numbers(word: str) -> None:
    with pytest.raises(DataError, match=f"^{word}: no such class .*1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"):
        ClassLabel(TWELVE).index(word)
    with pytest.raises(DataError, match=f"^{word}: no such class"):
        gallery_of(*TWELVE).waypoints([word, "1"])


def test_the_name_of_a_class_comes_before_its_index() -> None:
    assert [class_index(name, TWELVE) for name in TWELVE] == list(range(12))
    assert [class_index(name, ["1", "10", "11", "2"]) for name in ("2", "1", "10")] == [3, 0, 1]
    assert [class_index(word, ["cat", "dog"]) for word in ("0", "1", "DOG")] == [0, 1, 1]
    for classes in (["7", "cat"], ["-1", "1"], ["0.5", "1.5"], ["001", "002"]):
        with pytest.raises(DataError, match="no such class"):
            class_index("0", classes)


def test_accents_are_found_in_either_form() -> None:
    composed, decomposed = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    assert composed != decomposed
    for stored, typed in ((composed, decomposed), (decomposed, composed), (composed, decomposed.lower())):
        assert class_index(typed, ["the", stored]) == 1
    assert class_index(decomposed, [composed, decomposed]) == 1
    with pytest.raises(DataError, match="no such class"):
        class_index("cafe", [composed, "the"])


def test_names_with_commas_are_one_waypoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = gallery_of("a,b", "c", "b", "x, y, z", r"caf\xe9,1")
    assert split_names(gallery, "a,b,c, b") == ["a,b", "c", "b"]
    assert split_names(gallery, "x, y, z,c,,a,b,c,b,b,") == ["x, y, z", "c", "a,b", "c", "b", "b"]
    assert split_names(gallery, "b,a") == ["b", "a"]
    assert split_names(gallery, "c,caf\udce9,1") == ["c", "caf\udce9,1"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d,e.png").touch()
    assert split_names(gallery, "c,d,e.png,f,g.png") == ["c", "d,e.png", "f", "g.png"]
    assert gallery.waypoints(split_names(gallery, "c,a,b")).captions == ["c", "a,b"]
    assert len(split_names(gallery, ",".join(["c"] * 3_000))) == 3_000
