"""What Anyseek says of a picture that nobody wrote: attributes below `predicted`, on request.

All of it is told from the item's thumbnail, which every item with a picture has: an item is told the same whether its
picture was just decoded, or is known already. Colours are functions of the pixels. What the model says has a
`confidence`, and is left out where the model is not sure.
"""

import io
from typing import Any

import numpy as np
from PIL import Image

from anyseek.indexer.photo_metadata.reading import version
from anyseek.model.colours.measures import brightness, colour_shares, colourfulness
from anyseek.model.image_attributes import TellingEmbedder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import Embedder
from anyseek.search.settings import Photos
from anyseek.search.types import PREDICTED

# Raise it when something else is predicted of the same picture: the next `anyseek index` then predicts anew.
PREDICTING_VERSION = "1"
# A colour is among the dominant ones from this share of the picture.
LEAST_SHARE = 0.15


def reading_version(photos: Photos, predicts: bool, model: str) -> str:
    """What decides on the attributes that Anyseek itself gives an item: what is read of photos, and what predicts."""
    read = version(photos)
    return f"{read}+predicted:{PREDICTING_VERSION}:{model}" if predicts else read


def predicted(thumbnail: bytes, embedder: Embedder) -> dict[str, Any]:
    """Attributes, as they stand in an item: {"predicted": {…}}. `thumbnail` is a file that was made by Anyseek."""
    picture = pixels_of(thumbnail)
    told = _told(picture, embedder) if isinstance(embedder, TellingEmbedder) else {}
    return {PREDICTED: _of_colours(picture) | told}


def _of_colours(picture: ByteArray) -> dict[str, Any]:
    shares = {name: round(share, 3) for name, share in colour_shares(picture).items()}
    ordered = sorted((name for name, share in shares.items() if share >= LEAST_SHARE), key=lambda name: -shares[name])
    return {
        "brightness": round(brightness(picture), 4),
        "colourfulness": round(colourfulness(picture), 2),
        "colours": ordered,
        "colour_shares": {name: share for name, share in shares.items() if share > 0},
    }


def _told(picture: ByteArray, embedder: TellingEmbedder) -> dict[str, Any]:
    told = embedder.tell(picture)
    return {name: {"value": each.value, "confidence": round(each.confidence, 3)} for name, each in told.items()}


def pixels_of(thumbnail: bytes) -> ByteArray:
    """The pixels uint8 (H, W, 3) of a thumbnail."""
    with Image.open(io.BytesIO(thumbnail)) as image:
        return np.asarray(image.convert("RGB"))
