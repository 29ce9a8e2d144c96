"""Reads an image's width and height from the start of its data, whichever way a body holds it."""

import binascii
import re
from typing import Final

from msgspec import Raw

# Where base64 data begins: in a data URL, under a key "data", or the JSON string itself.
_START: Final = re.compile(rb';base64,|"data"\s*:\s*"|^\s*"(?=[A-Za-z0-9+/_-]{16})')
_START_WITHIN: Final = 512
# PNG, GIF and WebP say their size in the first 30 bytes; JPEG after its metadata, which may hold
# a preview and a colour profile.
_SHORT_CHARS: Final = 48
_LONG_CHARS: Final = 131_072
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LONE_MARKERS: Final = frozenset({0x01, *range(0xD0, 0xD9)})

UNKNOWN: Final = (0, 0)


def image_size(*held: bytes | Raw) -> tuple[int, int]:
    """Width and height in pixels of the PNG, JPEG, GIF or WebP image in raw JSON; else (0, 0).

    `held` is what an image part holds: a data URL, an object with one, or base64 data; of several
    the first with a size counts. A URL or a file id shows no size. Only the first 128 KB are looked
    at, and never all of a larger image.

    >>> image_size(b'{"url": "data:image/gif;base64,R0lGODlhAQACAIAAAAAAAP///ywAAAAAAQAC"}')
    (1, 2)
    """
    sizes = (_size(memoryview(raw)) for raw in held)
    return next((size for size in sizes if size != UNKNOWN), UNKNOWN)


def _size(view: memoryview) -> tuple[int, int]:
    start = _START.search(bytes(view[:_START_WITHIN]))
    if start is None:
        return UNKNOWN
    head = _decoded(view[start.end() : start.end() + _SHORT_CHARS])
    if head.startswith(b"\xff\xd8"):
        return _jpeg(_decoded(view[start.end() : start.end() + _LONG_CHARS]))
    return _short(head)


def _decoded(chars: memoryview) -> bytes:
    """The bytes of base64 text up to its end, without a last incomplete group of four."""
    text = bytes(chars).split(b'"', 1)[0].replace(b"\\/", b"/").rstrip(b"=\\")
    text = text.translate(bytes.maketrans(b"-_", b"+/"))
    # Two or three characters left over hold a byte or two; one holds nothing.
    left = len(text) % 4
    text = text[:-1] if left == 1 else text + b"=" * (-left % 4)
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return b""


def _short(head: bytes) -> tuple[int, int]:
    if len(head) >= 24 and head.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if len(head) >= 10 and head.startswith((b"GIF87a", b"GIF89a")):
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if len(head) >= 30 and head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp(head)
    return UNKNOWN


def _webp(head: bytes) -> tuple[int, int]:
    """The three kinds of WebP: lossy, lossless and extended."""
    if head[12:16] == b"VP8 ":
        width, height = (int.from_bytes(head[i : i + 2], "little") & 0x3FFF for i in (26, 28))
        return width, height
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (24, 27))
        return width, height
    return UNKNOWN


def _jpeg(data: bytes) -> tuple[int, int]:
    """The size in the first frame header, found by going from segment to segment."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[i : i + 2]) for i in (at + 5, at + 7))
            return width, height
        if marker == 0xFF:
            at += 1
        elif marker in _LONE_MARKERS:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return UNKNOWN
