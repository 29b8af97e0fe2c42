"""The scans of a JPEG file, counted before it is decoded.

A progressive JPEG may have any number of scans, each of which costs a pass over all coefficients: 156 kB can take a
decoder 18 seconds. Encoders write about ten.
"""

import re
from dataclasses import dataclass

MAX_SCANS = 100
JPEGS = ("JPEG", "MPO")  # what Pillow calls them
_USUAL_SCANS = 20  # whose passes take little longer than the rest of decoding
_MAX_MARKERS = 10_000
# Coded pixels have only FF 00 and restarts, FF D0 to FF D7. Of several FF the last begins a marker: a pattern that
# matches all of them would backtrack from each.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xC6, 0xCA, 0xCE)
_STANDALONE, _SCAN, _END = (0x01, 0xD8), 0xDA, 0xD9  # markers without a length; scans; the end of the picture


@dataclass(frozen=True)
class Scans:
    """The number of scans, where they are counted to `MAX_SCANS` + 1, and whether they refine each other."""

    count: int
    progressive: bool

    @property
    def is_multi_pass(self) -> bool:
        """Whether a decoder may have to pass over the pixels more than once."""
        return self.progressive or self.count > 1

    @property
    def cost(self) -> int:
        """The decoding time relative to a picture with the usual number of scans."""
        return max(1, self.count // _USUAL_SCANS)


def read_scans(data: bytes) -> Scans:
    """The scans of a JPEG. One that holds all components of a sequential picture is the last: decoders stop there."""
    count, components, progressive, place = 0, 0, False, 2
    for _ in range(_MAX_MARKERS):
        marker = _MARKER.search(data, place)
        if marker is None or marker[1][0] == _END or count > MAX_SCANS:
            return Scans(count, progressive)
        kind, place = marker[1][0], marker.end()
        if kind in _STANDALONE:
            continue
        segment = data[place : place + 8]
        if kind in _SEQUENTIAL + _PROGRESSIVE:
            components, progressive = segment[7] if len(segment) > 7 else 0, kind in _PROGRESSIVE
        if kind == _SCAN:
            count += 1
            if not progressive and segment[2:3] >= bytes([components]):
                return Scans(count, progressive)
        place += int.from_bytes(segment[:2], "big")
    return Scans(MAX_SCANS + 1, progressive)
