"""What tests of queries ask with: files, items' pictures, and a model that takes every modality."""

import io
import json
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.hashing import HashingEmbedder
from anyseek.model.modalities.registry import MODALITIES
from anyseek.search.errors import AssetNotFound
from anyseek.search.settings import Limits

LIMITS = Limits()


class TakesEverything(HashingEmbedder):
    modalities = frozenset(MODALITIES)


EMBEDDER = TakesEverything()


def no_pictures(key: str, collection: str | None) -> bytes:
    """Reads the pictures of items where there are none."""
    raise AssetNotFound(f"the item {key!r} has no file 'rgb'")


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(file, "PNG")
    return file.getvalue()


def depth() -> bytes:
    """A floor that comes nearer, in millimetres."""
    file = io.BytesIO()
    Image.fromarray(np.repeat(np.linspace(4000, 900, 40).astype(np.uint16)[:, None], 30, axis=1)).save(file, "PNG")
    return file.getvalue()


def picture_of(key: str, collection: str | None) -> bytes:
    assert (key, collection) in (("a", "other"), ("a", None))
    return png()


def query_form(query: dict[str, Any], **files: bytes) -> dict[str, Any]:
    """The fields of a form, as httpx takes them: the JSON of a query, and the files of its parts."""
    return {"query": (None, json.dumps(query)), **{name: (f"{name}.png", data) for name, data in files.items()}}
