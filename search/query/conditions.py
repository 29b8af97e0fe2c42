"""A clear colour beside other parts is a condition: hits meet it together with what the others ask for.

A palette of several colours, or of a dull one, rather describes one picture. A clear colour (vivid, black or white)
beside words asks for a thing of that colour. A palette cannot say so, because its space counts the colours of whole
pictures. So captions are asked a second time with the colour's name.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anyseek.model.colours.measures import colour_shares
from anyseek.model.colours.space import PALETTE, to_lab
from anyseek.search.query.query import Part

# The limits of a clear colour in L*a*b*. The single colours of 200 photos have a chroma of at most 27.
_MIN_CHROMA, _MAX_BLACK, _MIN_WHITE = 30.0, 8.0, 95.0
_NAMED_SHARE = 0.5  # of a caption's weight; with a third photos find a tenth less, and emoji as much


def clear_colour(parts: Sequence[Part]) -> str | None:
    """The name of the colour if the parts are one wanted palette of one clear colour, else None."""
    if len(parts) != 1 or parts[0].modality != PALETTE or parts[0].weight <= 0 or parts[0].value is None:
        return None
    palette = np.asarray(parts[0].value, np.uint8).reshape(-1, 3)
    if len(palette) != 1:
        return None
    light, *hue = to_lab(palette)[0].tolist()
    if np.hypot(*hue) < _MIN_CHROMA and _MAX_BLACK < light < _MIN_WHITE:
        return None
    shares = colour_shares(palette[np.newaxis])
    return max(shares, key=lambda name: shares[name])


def with_colour_named(parts: Sequence[Part], colour: str) -> tuple[Part, ...]:
    """The parts, with half of the weight of each wanted caption for the caption and the colour: "a car, red"."""
    named = [part for part in parts if part.modality == "caption" and part.weight > 0 and isinstance(part.value, str)]
    kept = [replace(part, weight=part.weight * (1 - _NAMED_SHARE)) if part in named else part for part in parts]
    extra = [replace(part, value=f"{part.value}, {colour}", weight=part.weight * _NAMED_SHARE) for part in named]
    return (*kept, *extra)
