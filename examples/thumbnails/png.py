"""PNG (W3C PNG, third edition) of 8-bit RGB without interlace: as much as pictures need here, by zlib alone."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = (8, 2, 0, 0, 0)
"""Bits a sample, colour type, compression, filter, interlace."""
_PIXEL: Final = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """`rows[y]` has three bytes for each pixel."""

    width: int
    rows: list[bytes]

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.rows)


def encode(picture: Picture) -> bytes:
    """Return the picture as a file."""
    header = struct.pack(">IIBBBBB", picture.width, picture.height, *_RGB)
    data = zlib.compress(b"".join(b"\0" + row for row in picture.rows))  # filter 0: as it is
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def decode(file: bytes) -> Picture:
    """Read a file; ValueError says why it cannot be."""
    if not file.startswith(_SIGNATURE):
        raise ValueError("this is no PNG")
    chunks: dict[bytes, bytes] = {}
    place = len(_SIGNATURE)
    while place < len(file):
        length, name = struct.unpack_from(">I4s", file, place)
        body = file[place + 8 : place + 8 + length]
        (crc,) = struct.unpack_from(">I", file, place + 8 + length)
        if crc != zlib.crc32(name + body):
            raise ValueError(f"the chunk {name.decode(errors='replace')} is damaged")
        chunks[name] = chunks.get(name, b"") + body
        place += length + 12
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if tuple(kind) != _RGB:
        raise ValueError("only 8-bit RGB without interlace is read here")
    return Picture(width, _unfiltered(zlib.decompress(chunks[b"IDAT"]), width, height))


def shrink(picture: Picture, width: int, on_row: Callable[[int, int], None]) -> Picture:
    """Return the picture at a smaller width, each pixel the mean of those it stands for.

    `on_row` is told after each row how many of how many are done. ValueError for a width that is not smaller.
    """
    if not 1 <= width <= picture.width:
        raise ValueError(f"the width must be 1 to {picture.width}, not {width}")
    height = max(1, picture.height * width // picture.width)
    columns = [(x * picture.width // width, (x + 1) * picture.width // width) for x in range(width)]
    rows: list[bytes] = []
    for y in range(height):
        source = picture.rows[y * picture.height // height : max((y + 1) * picture.height // height, 1)]
        rows.append(bytes(_mean(source, left, right, sample) for left, right in columns for sample in range(_PIXEL)))
        on_row(y + 1, height)
    return Picture(width, rows)


def _mean(rows: list[bytes], left: int, right: int, sample: int) -> int:
    samples = [sum(row[left * _PIXEL + sample : right * _PIXEL : _PIXEL]) for row in rows]
    return sum(samples) // (len(rows) * (right - left))


def _unfiltered(data: bytes, width: int, height: int) -> list[bytes]:
    stride = width * _PIXEL
    rows: list[bytes] = []
    above = bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(data[start + 1 : start + 1 + stride])
        if data[start]:
            _undo(data[start], row, above)
        above = bytes(row)
        rows.append(above)
    return rows


def _undo(kind: int, row: bytearray, above: bytes) -> None:
    for i, value in enumerate(row):
        left = row[i - _PIXEL] if i >= _PIXEL else 0
        corner = above[i - _PIXEL] if i >= _PIXEL else 0
        match kind:
            case 1:
                guess = left
            case 2:
                guess = above[i]
            case 3:
                guess = (left + above[i]) // 2
            case 4:
                slope = left + above[i] - corner
                guess = min((left, above[i], corner), key=lambda each: abs(slope - each))
            case _:
                raise ValueError(f"there is no filter {kind}")
        row[i] = (value + guess) & 0xFF


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
