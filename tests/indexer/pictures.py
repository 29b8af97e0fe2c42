"""Pictures for the tests of this folder, made on the spot."""

import io
import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png(seed: int, width: int = 24, height: int = 16) -> bytes:
    return encoded(noise(seed, width, height), "PNG")


def write(folder: Path, files: Mapping[str, Any]) -> Path:
    """`folder`, made where needed, with files: bytes and text as they are, other values as JSON, a seed's picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(content))
    return folder


def _bytes(content: Any) -> bytes:
    if isinstance(content, int):
        return png(content)
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return text.encode() if isinstance(text, str) else text


def folder_of(folder: Path, seeds: Iterable[int], name: str = "{}.png") -> Path:
    """A new folder with a picture for each seed."""
    return write(folder, {name.format(seed): seed for seed in seeds})


def jpeg(seed: int, width: int = 24, height: int = 16) -> bytes:
    return encoded(noise(seed, width, height), "JPEG")


def bomb(side: int) -> bytes:
    """A valid PNG of `side` x `side` black pixels, a thousandth of that in bytes."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    body = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
