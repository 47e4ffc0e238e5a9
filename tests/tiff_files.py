"""TIFF files of any number of channels and any type, written by the specification, as tests need them."""

import struct
import zlib
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = {"u": 1, "i": 2, "f": 3}
"""Sample formats by NumPy's kinds of numbers."""
SHORT, LONG = 3, 4


def tiff(
    values: NDArray[Any],
    *,
    order: str = "<",
    photometric: int = 1,
    extra: tuple[int, ...] = (),
    planar: bool = False,
    compressed: bool = False,
    predictor: int = 1,
    tile: tuple[int, int] | None = None,
    rows_per_strip: int = 3,
    orientation: int = 1,
) -> bytes:
    """A TIFF file of values of shape (H, W, C)."""
    height, width, channels = values.shape
    planes = np.moveaxis(values, 2, 0)[..., None] if planar else values[None]
    side = tile or (rows_per_strip, width)
    blocks = [
        _block(plane, top, left, side, tile is not None, order, predictor)
        for plane in planes
        for top, left in product(range(0, height, side[0]), range(0, width, side[1]))
    ]
    blocks = [zlib.compress(block) for block in blocks] if compressed else blocks
    starts = np.cumsum([8, *map(len, blocks)]).tolist()
    bits, kind = values.dtype.itemsize * 8, FORMATS[values.dtype.kind]
    entries: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (bits,) * channels,
        259: (8 if compressed else 1,),
        262: (photometric,),
        274: (orientation,),
        277: (channels,),
        284: (2 if planar else 1,),
        317: (predictor,),
        339: (kind,) * channels,
    }
    entries |= {338: extra} if extra else {}
    if tile:
        entries |= {322: (tile[1],), 323: (tile[0],), 324: tuple(starts[:-1]), 325: tuple(map(len, blocks))}
    else:
        entries |= {273: tuple(starts[:-1]), 278: (rows_per_strip,), 279: tuple(map(len, blocks))}
    content = b"".join(blocks)
    return _header(order, 8 + len(content)) + content + _directory(entries, order, 8 + len(content))


def _block(
    plane: NDArray[Any], top: int, left: int, side: tuple[int, int], padded: bool, order: str, predictor: int
) -> bytes:
    """A strip or tile of a plane of shape (H, W, C)."""
    block = plane[top : top + side[0], left : left + side[1]]
    if padded:
        block = np.pad(block, ((0, side[0] - block.shape[0]), (0, side[1] - block.shape[1]), (0, 0)))
    if predictor == 2:
        block = np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1]))
    if predictor == 3:
        rows, columns, channels = block.shape
        size = block.dtype.itemsize
        raw = np.ascontiguousarray(block.astype(block.dtype.newbyteorder(">"))).view(np.uint8)
        planes = raw.reshape(rows, columns * channels, size).swapaxes(1, 2).reshape(rows, -1, channels)
        return np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1])).tobytes()
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def _header(order: str, start: int) -> bytes:
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, start)


def _directory(entries: dict[int, tuple[int, ...]], order: str, start: int) -> bytes:
    after, rest, body = start + 2 + 12 * len(entries) + 4, b"", struct.pack(f"{order}H", len(entries))
    for tag, values in sorted(entries.items()):
        kind = SHORT if tag in (258, 259, 262, 274, 277, 284, 317, 338, 339) else LONG
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'L'}", *values)
        body += struct.pack(f"{order}HHL", tag, kind, len(values))
        if len(packed) > 4:
            body += struct.pack(f"{order}L", after + len(rest))
            rest += packed
        else:
            body += packed.ljust(4, b"\0")
    return body + bytes(4) + rest
