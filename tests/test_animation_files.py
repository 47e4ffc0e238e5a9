"""Animations written as GIF, WebP and MP4, and read back."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaekit
from tests.animation_frames import checkers
from tests.linear_gallery import garments, linear_vae
from vaekit.core.errors import DataError
from vaekit.plots import Animation
from vaekit.plots import animation as animation_module
from vaekit.plots.frames import frame_durations
from vaekit.presentation.animations import HOLD
from vaekit.presentation.gallery import Gallery


def played(path: Path, mode: str) -> tuple[list[np.ndarray], list[int], int]:
    """The frames of an animation, how long each is shown, and how often it repeats; 0 is for ever."""
    with Image.open(path) as image:
        frames, durations = [], []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            frames.append(np.asarray(image.convert(mode)).astype(int))
            durations.append(image.info["duration"])
        return frames, durations, image.info["loop"]


def gray(frame: np.ndarray) -> np.ndarray:
    """The gray levels of a frame."""
    return np.asarray(Image.fromarray(frame.astype(np.uint8)).convert("L"), int)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_animation_comes_back_from_its_file(suffix: str, mode: str, tmp_path: Path) -> None:
    animation = Animation(checkers(6, mode), [700, 60, 60, 350, 20, 2000])
    animation.save(tmp_path / f"x{suffix}")
    frames, durations, loop = played(tmp_path / f"x{suffix}", mode)
    assert (durations, loop) == (animation.durations, 0)
    for found, frame in zip(frames, animation.frames, strict=True):
        error = np.abs(found - np.asarray(frame, int)).max()
        if suffix.lower() == ".gif" and mode == "L":
            assert 0 < error <= 255 / 63 / 2 + 0.5
            assert len(np.unique(found)) <= 64
        elif suffix == ".webp":
            assert np.abs(gray(found) - gray(np.asarray(frame))).mean() < 8  # colors have half the resolution
        else:  # 63 colors fit a palette
            assert error == 0


def test_gif_levels_are_even_and_keep_black_and_white(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    Animation([ramp, ramp.rotate(90)], [60, 60]).save(tmp_path / "x.gif")
    levels = np.unique(played(tmp_path / "x.gif", "L")[0][0])
    np.testing.assert_array_equal(levels, np.rint(np.arange(64) * 255 / 63))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_that_are_the_same_take_their_time(suffix: str, tmp_path: Path) -> None:
    a, b = checkers(2)
    Animation([a, b, b, a], [100, 60, 80, 40]).save(tmp_path / f"x{suffix}")
    _, durations, _ = played(tmp_path / f"x{suffix}", "L")
    assert sum(durations) == 280


def test_animation_of_a_gallery_comes_back_as_its_model_drew_it(tmp_path: Path) -> None:
    gallery = Gallery(linear_vae(shape=(3, 4, 7)), garments(shape=(3, 4, 7)))
    animation = gallery.animation(["sock", "boot"], steps=2, size=28)
    for suffix, error in ((".webp", 4), (".gif", 2)):
        animation.save(tmp_path / f"x{suffix}")
        frames, durations, _ = played(tmp_path / f"x{suffix}", "RGB")
        assert durations == ([HOLD, *frame_durations(2)] * 2 if suffix == ".webp" else [700, 30, 40, 700, 30, 30])
        for found, frame in zip(frames, animation.frames, strict=True):
            assert np.abs(found - np.asarray(frame, int)).mean() <= error


@pytest.mark.parametrize(("mode", "size", "factor"), [("L", (8, 6), 8), ("RGB", (8, 6), 8), ("L", (9, 7), 5)])
def test_video_has_its_frames_and_its_seconds(mode: str, size: tuple[int, int], factor: int, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    animation = Animation(checkers(3, mode, size, factor), [100, 700, 60])
    animation.save(tmp_path / "x.mp4")
    count, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert (count, seconds) == (26, pytest.approx(0.86, abs=0.02))
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-v", "error", "-")
    command = [ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "x.mp4"), *raw]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    width, height = animation.frames[0].size
    even = (height + height % 2, width + width % 2)
    frames = np.frombuffer(data, np.uint8).reshape(26, *even).astype(int)[:, :height, :width]
    for first, last, frame in zip((0, 3, 24), (2, 23, 25), animation.frames, strict=True):
        expected = np.asarray(frame.convert("L"), int)
        for shown in (frames[first], frames[last]):
            assert np.abs(shown - expected).mean() < (6 if mode == "L" else 20)
    assert np.abs(frames[2] - frames[3]).mean() > 40


def test_video_takes_as_long_as_its_animation(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    animation = Animation(checkers(21), [70] * 19 + [350, 110])
    animation.save(tmp_path / "x.mp4")
    assert ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))[1] == pytest.approx(1.79, abs=0.034)


@pytest.mark.parametrize("name", ["x.png", "x", "x.avi", "gif"])
def test_animation_of_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: an animation.*\.gif, \.webp, \.mp4"):
        Animation(checkers(2), [60, 60]).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_video_without_its_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation_module, "imageio_ffmpeg", None)
    with pytest.raises(DataError, match=r"MP4.*imageio-ffmpeg"):
        Animation(checkers(2), [60, 60]).save(tmp_path / "x.mp4")
    Animation(checkers(2), [60, 60]).save(tmp_path / "x.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["x.gif"]


@pytest.mark.parametrize(
    ("suffix", "side", "hold"), [(".webp", 16_384, 60), (".webp", 9, 2**40), (".gif", 9, 700_000)], ids=str
)
def test_animation_that_its_format_cannot_hold_is_refused(suffix: str, side: int, hold: int, tmp_path: Path) -> None:
    animation = Animation([Image.new("L", (side, 2), level) for level in (0, 255)], [hold, 60])
    with pytest.raises(vaekit.VaekitError, match=rf"\{suffix} cannot hold"):
        animation.save(tmp_path / f"x{suffix}")
