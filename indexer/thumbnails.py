"""The small picture of an item: of its photo, or of what else can be shown of it, such as its depth map."""

from collections.abc import Mapping

import numpy as np

from anyseek.indexer.samples import PICTURE
from anyseek.model.modalities.reading.pictures import thumbnail
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.values import as_picture
from anyseek.model.seam import Value

# The first of these that an item has is shown.
_SHOWN = (
    Content.PICTURE,
    Content.REGIONS,
    Content.DEPTH,
    Content.NORMAL,
    Content.DRAWING,
    Content.BOXES,
    Content.PALETTE,
)


def thumbnail_of(values: Mapping[str, Value]) -> bytes | None:
    """A JPEG of an item's values by modality; None for words and others that cannot be seen."""
    names = sorted(values, key=lambda name: (name != PICTURE, name))
    for content in _SHOWN:
        for name in names:
            if MODALITIES[name].content is content and (look := as_picture(name, values[name])) is not None:
                return thumbnail(np.ascontiguousarray(look))
    return None
