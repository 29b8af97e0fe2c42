"""Compare pictures without any training: by how they look as a whole, and by how they look in each place.

Both looks come from one pass of EfficientNet-Lite0. For the whole picture, the pooled vector is raised to a small
power: a few strong channels say what kind of rendering it is, the many weak ones what it shows. For the places, the map
at stride 16 is averaged in 4 x 4 parts and each channel is standardised over the parts: this removes the style, which a
drawing or a map has everywhere, and keeps the layout. These looks find samples of sources that nothing was trained on
(docs/transfer.md).

B pictures.
"""

import torch.nn.functional as F
from torch import Tensor

_POWER = 0.35
_FAINT = 1.0  # a channel that varies less than this over the parts says little, and is not blown up


def whole_vectors(pooled: Tensor) -> Tensor:
    """Pooled features (B, 1280), 0 or more -> unit float32 (B, 1280)."""
    return F.normalize(pooled.float().clamp(min=0) ** _POWER, dim=1)


def places_vectors(parts: Tensor) -> Tensor:
    """`Features.parts` (B, C, 4, 4), each channel standardised over the parts -> unit float32 (B, 16 C)."""
    centred = parts.float() - parts.float().mean(dim=(2, 3), keepdim=True)
    spread = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return F.normalize((centred / (spread + _FAINT)).flatten(1), dim=1)
