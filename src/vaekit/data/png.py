"""PNG files without their text, which Pillow refuses above a megabyte although no pixel depends on it.

Programs for image generation and annotation store their whole project in text chunks. Pillow expands text and color profiles
whenever it opens a file, and takes long ones for an attack; without these chunks nothing is expanded.
"""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG file."""
TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""The chunks of text, and of a color profile, which is not used."""
ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""The beginnings of text that may say how an image is turned."""
MAX_ORIENTATION_BYTES = 2**16
"""The longest such text that is kept."""


def is_png(start: bytes) -> bool:
    """Whether a file begins as a PNG file does."""
    return start.startswith(SIGNATURE)


def without_text(data: bytes) -> bytes:
    """Returns a PNG file without its text and its color profile; a damaged file is returned as far as it is whole.

    Arguments:
        data: The file.
    """
    kept, start, position = list[bytes](), 0, len(SIGNATURE)
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] in TEXT and not _may_turn(data[position + 8 : end - 4]):
            kept.append(data[start:position])
            start = end
        position = end
    return b"".join((*kept, data[start:])) if kept else data


def _may_turn(text: bytes) -> bool:
    return text.startswith(ORIENTATION) and len(text) <= MAX_ORIENTATION_BYTES
