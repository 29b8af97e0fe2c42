"""The size of a JPEG XL picture from its header: the plugin that decodes such files decodes them when they are opened.

ISO/IEC 18181-1, annex D.2 (size header), and 18181-2 (boxes).
"""

from collections.abc import Iterator

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"

_SIZES_OF_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height, by their number from 1
_MOST_BOXES = 1_000
_PART_NUMBER = 4  # bytes before the codestream in a box of a part of it


def is_jxl(start: bytes) -> bool:
    """Whether a file that starts like this is JPEG XL."""
    return start.startswith((CODESTREAM, CONTAINER))


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None if the header cannot be understood."""
    start = _codestream(data)
    if start is None or data[start : start + 2] != CODESTREAM:
        return None
    return _Bits(data[start + 2 : start + 14]).size()


def _codestream(data: bytes) -> int | None:
    """Where the codestream begins."""
    if data.startswith(CODESTREAM):
        return 0
    for kind, start in _boxes(data):
        if kind == b"jxlc":
            return start
        if kind == b"jxlp":
            return start + _PART_NUMBER
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind of each box and where its content begins."""
    place = 0
    for _ in range(_MOST_BOXES):
        length, kind, start = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], place + 8
        if length == 1:  # the length follows as 64 bits
            length, start = int.from_bytes(data[place + 8 : place + 16], "big"), place + 16
        if len(kind) < 4:
            return
        yield kind, start
        if length < start - place:  # 0: the box goes on to the end; else it is damaged
            return
        place += length


class _Bits:
    """Reads numbers from bytes, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def size(self) -> tuple[int, int]:
        """The size header: the height, then the width or its ratio to the height."""
        is_small = self._take(1)
        height = self._side(is_small)
        ratio = self._take(3)
        if not ratio:
            return self._side(is_small), height
        numerator, denominator = _RATIOS[ratio - 1]
        return height * numerator // denominator, height

    def _side(self, is_small: int) -> int:
        if is_small:
            return (self._take(5) + 1) * 8
        return self._take(_SIZES_OF_BITS[self._take(2)]) + 1

    def _take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value
