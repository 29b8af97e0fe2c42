"""Pictures to index: large photos whose decoding takes the time, small ones, and tiny ones of which there are many."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

LARGE, SMALL = (4_000, 3_000), (320, 240)
_PHOTOS = 16  # that differ in what they show; others are other files by what stands behind the end of the picture
_FILES_A_FOLDER = 1_000


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs with soft shapes and grain, as photos have them; no two files are equal. Returns them sorted."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    width, height = size
    grain = chance.integers(-12, 13, (height, width, 1), np.int8).astype(np.int16)
    photos = [_photo(chance, grain, size) for _ in range(min(count, _PHOTOS))]
    for number in range(count):
        behind = b"" if number < _PHOTOS else f"photo {number}".encode()
        (folder / f"{number:05}.jpg").write_bytes(photos[number % _PHOTOS] + behind)
    return sorted(folder.iterdir())


def make_tiny(folder: Path, count: int) -> None:
    """PNGs of 4 x 4 pixels, no two of them equal, a thousand in each folder."""
    for number in range(count):
        inside = folder / f"{number // _FILES_A_FOLDER:04}"
        if number % _FILES_A_FOLDER == 0:
            inside.mkdir(parents=True)
        (inside / f"{number:07}.png").write_bytes(_png(number))


def _photo(chance: np.random.Generator, grain: np.ndarray, size: tuple[int, int]) -> bytes:
    shapes = Image.fromarray(chance.integers(0, 255, (6, 8, 3), np.uint8))
    soft = np.asarray(shapes.resize(size, Image.Resampling.BICUBIC), np.int16)
    picture = np.clip(soft + np.roll(grain, int(chance.integers(size[0])), axis=1), 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=85)
    return data.getvalue()


def _png(number: int) -> bytes:
    """Written by hand, which is ten times as fast as Pillow."""
    row = b"\0" + number.to_bytes(4, "big") * 3
    header = (4).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * 4, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )
