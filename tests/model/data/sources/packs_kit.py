"""Writes small packs of shards: what a test says of each sample, with the files it names."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Files = Mapping[str, bytes]


def about(**changes: object) -> dict[str, object]:
    said = {"id": "x/1", "source": "x", "license": "CC BY 4.0", "split": "train", "width": 300, "height": 200}
    return said | changes


def picture(width: int = 12, height: int = 8) -> bytes:
    return encoded(np.full((height, width, 3), (0, 90, 0), np.uint8), "WEBP")


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.fromarray(values).save(written, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return written.getvalue()


def write_shard(path: Path, samples: Sequence[tuple[Mapping[str, object], Files]]) -> Path:
    """A shard with a `.json` and the files of each sample; its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (said, files) in enumerate(samples):
            for ending, data in {**files, "json": json.dumps(said).encode()}.items():
                member = tarfile.TarInfo(f"{number:06d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path.parent
