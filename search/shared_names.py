"""Words that a model finds both for a part of a query and for an item, such as what two pictures look like."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from anyseek.model.seam import Embedder, FloatArray
from anyseek.model.telling import NamingEmbedder

MOST = 8  # words of a part, and of an item
_SHOWN = 3  # of an item by itself


@dataclass(frozen=True)
class Names:
    """The words of a ranking's parts by their places, and of items by id, best first."""

    parts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    items: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def shared(self, place: int, item_id: int) -> tuple[str, ...]:
        """What a part and an item have in common."""
        of_part = self.parts.get(place, ())
        return tuple(name for name in self.items.get(item_id, ()) if name in of_part)

    def of_item(self, item_id: int) -> tuple[str, ...]:
        """The best words for an item."""
        return self.items.get(item_id, ())[:_SHOWN]


def ranking_names(
    embedder: Embedder, space: str, parts: Mapping[int, FloatArray], items: Mapping[int, FloatArray]
) -> Names:
    """The words for the vectors (d,) of parts and of items; none in a space for which the model has no words."""
    if not isinstance(embedder, NamingEmbedder) or space not in embedder.naming_spaces:
        return Names()
    rows = [*parts.values(), *items.values()]
    if not rows:
        return Names()
    found = embedder.names(np.stack(rows), space, MOST)
    return Names(dict(zip(parts, found, strict=False)), dict(zip(items, found[len(parts) :], strict=True)))
