"""The formats of images that are read: an explicit list, and HEIF if the package for it is installed."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import IO

from PIL import Image

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "ICO": (".ico",),
    "ICNS": (".icns",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "PCX": (".pcx",),
    "PSD": (".psd",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
}
"""The formats that are read, by Pillow's names, and their file suffixes.

Excluded are the formats that Pillow hands to another program (EPS to Ghostscript), cannot decode (MPEG), or decodes in
Python, which takes minutes for a large image (DDS, QOI).
"""

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""The suffixes of HEIF files, which phones write; they are read if :data:`HEIF_PACKAGE` is installed."""
HEIF_PACKAGE = "pillow_heif"
"""The package by which Pillow reads HEIF files; its smaller sister ``pi_heif`` 1.4 ends the process on damaged files."""
HEIF_EXTRA = "vaekit[heic]"
"""What installs it."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""The kinds of HEIF files, as they are in the bytes 8 to 11 after ``ftyp``."""


@cache
def reads_heif() -> bool:
    """Whether HEIF files are read: whether the package for it is installed."""
    return find_spec(HEIF_PACKAGE) is not None


@cache
def _readable_formats() -> tuple[str, ...]:
    """The formats that are read, by Pillow's names, with HEIF if the package for it can be imported."""
    try:
        import_module(HEIF_PACKAGE).register_heif_opener()
    except (ImportError, OSError):  # it is not installed, or a library that it needs is missing
        return tuple(FORMATS)
    return (*FORMATS, "HEIF")


def open_known(file: IO[bytes]) -> Image.Image:
    """Opens an image lazily.

    Raises:
        ValueError: If it is a HEIF file, under any name, and the package for it is not installed.
    """
    start = file.read(12)
    file.seek(0)
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS and "HEIF" not in _readable_formats():
        raise ValueError(f"a HEIF file; pip install '{HEIF_EXTRA}' reads it")
    return Image.open(file, formats=_readable_formats())
