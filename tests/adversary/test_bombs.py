"""Small files that claim to be large pictures, in every format that is read, against the limits as they are."""

import base64
import io
import struct
import zlib
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from tests.services.anyseek import Anyseek

_MAX_MEBIBYTES = 1_500  # a picture of as many pixels as are allowed takes 300 MB, and a copy of it as much again


def _png(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, whole, since its rows are compressed to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(9), b"\0" * ((width + 7) // 8 + 1)
    packed = b"".join(packer.compress(rows) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _saved(mode: str, size: tuple[int, int], format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, format_name, **options)
    return file.getvalue()


def _float_tiff(width: int, height: int) -> bytes:
    """A TIFF of floats, deflated, in one strip; Pillow does not write such wide ones."""
    packer, rows = zlib.compressobj(9), b"\0" * (1 << 20)
    whole, rest = divmod(width * height * 4, len(rows))
    packed = b"".join(packer.compress(rows) for _ in range(whole)) + packer.compress(rows[:rest]) + packer.flush()
    tags = ((256, width), (257, height), (258, 32), (259, 8), (262, 1), (273, 8), (277, 1), (278, height))
    tags += ((279, len(packed)), (339, 3))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG of 900 million pixels": lambda: _png(30_000, 30_000),
    "PNG one pixel high": lambda: _png(110_000_000, 1),
    "PNG one pixel wide": lambda: _png(1, 101_000_000 // 100),
    "PNG that claims 2^31 - 1": lambda: _png(64, 64).replace(struct.pack(">II", 64, 64), b"\x7f\xff\xff\xff" * 2),
    "WebP of 16,383 x 6,200": lambda: _saved("RGB", (16_383, 6_200), "WEBP", lossless=True, method=0),
    "float TIFF of 12,000 x 9,000": lambda: _float_tiff(12_000, 9_000),
    "float TIFF one pixel high": lambda: _float_tiff(101_000_000, 1),
    "GIF of 65,535 x 65,535": lambda: (
        b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0xF0, 0, 0) + b"\0" * 6 + b"\x2c;"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_or_read_within_bounds_and_others_are_answered(
    victim: Anyseek, http: httpx.Client, bomb: str
) -> None:
    data = BOMBS[bomb]()
    assert len(data) < 1 << 20
    before = victim.usage().memory
    for modality in ("rgb", "sketch", "depth"):
        parts = [{"modality": modality, "data": base64.b64encode(data).decode()}]
        answer = http.post("/v1/collections/a/query", json={"parts": parts})
        assert answer.status_code in (200, 413, 422), answer.text
        put = http.put("/v1/collections/a/items/bomb", files={modality: ("bomb", data)})
        assert put.status_code in (200, 413, 422), put.text
    assert victim.usage().peak - before < _MAX_MEBIBYTES
    assert http.get("/healthz").status_code == 200
