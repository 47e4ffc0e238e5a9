"""The shape (C, H, W) that all images of a set are brought to: the requested one, or the one that all of them have.

Images of files are fitted to it; arrays are not resized, so theirs has to be the requested one.
"""

from contextlib import suppress

from vaekit.core.errors import DataError, SeveralSizesError
from vaekit.data.decode import NO_SIZE, scan_headers
from vaekit.data.image_files import READ_ERRORS, read_header
from vaekit.data.sources.source import RawSplit, Source

PROPOSED_SIDES = (16, 32, 64)
"""The sides that are proposed for images of several sizes; the largest one trains within an hour on a CPU."""
MAX_MEASURED = 500
"""About how many images are measured for that."""

Size = tuple[int, int] | None
"""A height and width (H, W), or None for the common size of the images."""


def common_shape(source: Source, splits: dict[str, RawSplit], size: Size, channels: int | None) -> tuple[int, int, int]:
    """Returns the shape (C, H, W) that all images of a source of files are brought to.

    Raises:
        SeveralSizesError: If they have several sizes, and none is given.
    """
    if size is not None and channels is not None:
        return channels, *size
    headers = [scan_headers(raw.images, f"{source.name} {split}") for split, raw in splits.items()]
    sizes = {common for common, _ in headers if common != NO_SIZE}
    if not sizes:
        return channels or 1, *(size or (1, 1))  # no image can be read; decoding reports the reasons
    common = sizes.pop() if len(sizes) == 1 else None
    if size is None and common is None:
        side = _propose_side(splits)
        raise SeveralSizesError(
            f"{source.name}: the images have several sizes; choose one to fit them to, e.g. --size {side}", side
        )
    return channels or max(needed for _, needed in headers), *(size or common or ())


def _propose_side(splits: dict[str, RawSplit]) -> int:
    """The largest of the proposed sides that half of the images reach; the smallest one where they are all smaller."""
    images = next(iter(splits.values())).images
    step = max(1, len(images) // MAX_MEASURED)
    sides = []
    for index in range(0, len(images), step):
        with suppress(*READ_ERRORS):
            sides.append(min(read_header(images[index]).size))
    middle = sorted(sides)[len(sides) // 2] if sides else 0
    return max((side for side in PROPOSED_SIDES if side <= middle), default=PROPOSED_SIDES[0])


def check_shape(shape: tuple[int, int, int], size: Size, channels: int | None, name: str) -> None:
    """Raises DataError if the shape (C, H, W) of an array's images is not the requested one."""
    requested = (channels or shape[0], *(size or shape[1:]))
    if shape != requested:
        raise DataError(
            f"{name}: arrays are not resized, and these images are {_times(shape)}, not {_times(requested)}; "
            f"add --size {shape[1]}x{shape[2]} --channels {shape[0]}, or resize the array"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
