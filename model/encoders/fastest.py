"""The image encoder in the way that is fastest on this machine: by OpenVINO where it is installed, else by torch.

All ways give the same features up to rounding, so they share a fingerprint. That is checked where OpenVINO or torch's
fused operations are first used in a process: a picture's vectors must have a cosine of at least 0.9999 with those of
torch's own layers.
"""

import logging
import threading
from dataclasses import fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.compute.device_parity import LEAST_COSINE
from anyseek.model.encoders.compiled import CompiledEncoder, is_installed
from anyseek.model.encoders.efficientnet import IMAGE_SIZE, EfficientNetLite0, Features, load_efficientnet
from anyseek.model.encoders.fused import can_fuse, fused
from anyseek.model.encoders.remembering import ImageEncoder

# Waves that differ in every channel: (1, 3, 224, 224) between -1 and 1.
_WAVES = torch.outer(torch.arange(1.0, 4.0), torch.linspace(0, 20, IMAGE_SIZE))
_PATTERN = (_WAVES.sin()[:, None, :] * _WAVES.cos()[:, :, None])[None]

_log = logging.getLogger(__name__)


class FastestEncoder:
    """Implements `ImageEncoder`; safe for several threads. OpenVINO is loaded with the first picture.

    With `compiling` OpenVINO is used. If it fails or computes something else, the log has one warning, and torch
    computes from then on.
    """

    def __init__(self, network: EfficientNetLite0, compiling: bool) -> None:
        self._network, self._lock = network, threading.Lock()
        self._encoder: ImageEncoder | None = None
        if not compiling:
            self._encoder = self._network = _by_torch(network)

    def __call__(self, pixels: Tensor) -> Features:
        """The features of float32 (B, 3, 224, 224)."""
        with self._lock:
            if self._encoder is None:
                self._encoder = _compiled(self._network)
            if self._encoder is None:
                self._encoder = self._network = _by_torch(self._network)
            encoder = self._encoder
        return encoder(pixels)

    def levels(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The maps of `EfficientNetLite0.levels`, by torch."""
        return self._network.levels(pixels)


def load_fastest(path: Path, openvino: bool) -> FastestEncoder:
    """The encoder with the converted weights at `path`; without `openvino` that is left out."""
    return FastestEncoder(load_efficientnet(path), openvino and is_installed())


def _by_torch(network: EfficientNetLite0) -> EfficientNetLite0:
    """The network fused; itself, with a warning, where that fails on this processor or gives other features."""
    if not can_fuse():
        return network
    try:
        found = fused(network)
        cosine = least_cosine(found(_PATTERN), network(_PATTERN))
    except RuntimeError as error:
        _log.warning("Torch's fused operations cannot be used: %s", " ".join(str(error).split()))
        return network
    if not cosine >= LEAST_COSINE:
        _log.warning("Torch's fused operations give other features (cosine %.5f), so they are not used", cosine)
        return network
    return found


def _compiled(network: EfficientNetLite0) -> CompiledEncoder | None:
    """The network compiled by OpenVINO; None, with a warning, where that fails or gives other features."""
    try:
        compiled = CompiledEncoder(network)
        cosine = least_cosine(compiled(_PATTERN), network(_PATTERN))
    except (ImportError, RuntimeError, OSError) as error:
        _log.warning("OpenVINO cannot be used, so torch computes instead: %s", " ".join(str(error).split()))
        return None
    if not cosine >= LEAST_COSINE:  # nor where they are no numbers
        _log.warning("OpenVINO's features differ from torch's (cosine %.5f), so torch computes instead", cosine)
        return None
    return compiled


def least_cosine(some: Features, others: Features) -> float:
    """The least cosine between two encoders' outputs for the same pictures, of any of their tensors; NaN if one is."""
    names = [part.name for part in fields(Features)]
    pairs = ((getattr(some, name).flatten(1), getattr(others, name).flatten(1)) for name in names)
    return float(torch.cat([F.cosine_similarity(a.double(), b.double()) for a, b in pairs]).min())
