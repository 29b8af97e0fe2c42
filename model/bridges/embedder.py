"""The `Embedder` of a bridge: an open_clip model that takes every modality, in its own space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anyseek.model.bridges.files import NUMBERS_FILE, folder_of, read_record
from anyseek.model.bridges.space import Bridge, features_of, fingerprint_of, load_bridge, unit
from anyseek.model.compute.devices import CPU
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.values import CONTENTS, check_value, render_value
from anyseek.model.openclip.embedder import SPACE, load_openclip_embedder
from anyseek.model.seam import Embedder, FloatArray, Sample, Value
from anyseek.model.single_space import SingleSpaceEmbedder

PHOTO, CAPTION, DRAWING = "rgb", "caption", "canny_edge"


class BridgeEmbedder(SingleSpaceEmbedder):
    """A bridge over `base`, which takes pictures, captions and drawings in the space `open_clip`.

    Thread-safe if `base` is.
    """

    def __init__(self, name: str, fingerprint: str, base: Embedder, bridge: Bridge) -> None:
        super().__init__(name, fingerprint, SPACE, bridge.prior)
        self.modalities = frozenset(bridge.maps)
        self._base, self._bridge = base, bridge

    def vectors(self, samples: Sequence[Sample]) -> FloatArray:
        """Unit rows (n, d), centred by modality; the modalities of a sample have equal weight."""
        self._check(samples)
        return self._directions(samples)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: the base's vector of a photo, shifted in the direction of its caption.

        An item without a photo is placed where the vectors of similar photos are.
        """
        return self._embed_with(samples, spaces, self._item_vectors)

    def _check(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            if not sample.values:
                raise FormatInvalid(f"the model {self.name} was given a sample without any modality")
            for modality, value in sample.values.items():
                check_value(MODALITIES[modality], value)

    def _directions(self, samples: Sequence[Sample]) -> FloatArray:
        """Unit rows (n, d) around zero; the prior's direction for samples without any direction."""
        total = np.zeros((len(samples), self.space.dimension), np.float32)
        for modality in sorted({name for sample in samples for name in sample.values}):
            rows = [row for row, sample in enumerate(samples) if modality in sample.values]
            values = [samples[row].values[modality] for row in rows]
            total[rows] += self._bridge.maps[modality].directions(
                rendered_vectors(self._base, modality, values), features_of(modality, values)
            )
        directions = unit(total)
        directions[~directions.any(axis=1)] = unit(self._bridge.prior)
        return directions

    def _item_vectors(self, samples: Sequence[Sample]) -> FloatArray:
        self._check(samples)
        total = np.zeros((len(samples), self.space.dimension), np.float32)
        photos = [row for row, sample in enumerate(samples) if PHOTO in sample.values]
        captioned = [row for row in photos if CAPTION in samples[row].values]
        others = [row for row, sample in enumerate(samples) if PHOTO not in sample.values]
        if photos:
            renderings = rendered_vectors(self._base, PHOTO, [samples[row].values[PHOTO] for row in photos])
            assert renderings is not None, "a photo can be rendered"
            total[photos] = renderings
        if captioned:
            captions = [Sample({CAPTION: samples[row].values[CAPTION]}) for row in captioned]
            total[captioned] += np.float32(self._bridge.spread) * self._directions(captions)
        if others:
            total[others] = self._bridge.items(self._directions([samples[row] for row in others]))
        return unit(total)


def rendered_vectors(base: Embedder, modality: str, values: Sequence[Value]) -> FloatArray | None:
    """Unit vectors (n, d) of n values rendered as pictures and encoded by `base`; None if they cannot be rendered.

    Raises `FormatInvalid` for an empty value.
    """
    content = MODALITIES[modality].content
    if content is not Content.TEXT and CONTENTS[content].render is None:
        return None
    return base.embed([_to_base_sample(modality, value) for value in values], [SPACE])[SPACE]


def _to_base_sample(modality: str, value: Value) -> Sample:
    content = MODALITIES[modality].content
    if content is Content.TEXT:
        return Sample({CAPTION: value})
    if content is Content.DRAWING:
        return Sample({DRAWING: value})
    picture = render_value(modality, value)
    if picture is None:
        raise FormatInvalid(f"this value of {modality} shows nothing, so it cannot be rendered as a picture")
    return Sample({PHOTO: picture})


def load_bridge_embedder(name: str, home: Path, device: str = CPU) -> BridgeEmbedder:
    """The bridge `bridge:NAME` below `home`, with its open_clip model.

    The model is on `device`. Raises `BadDevice`, `UnknownModel`, `PackageMissing`, `WeightsMissing`, `WeightsCorrupt`,
    `CheckpointMismatch`.
    """
    record, path = read_record(name, home), folder_of(name, home) / NUMBERS_FILE
    base = load_openclip_embedder(record.base, home, device)
    if base.fingerprint != record.base_fingerprint:
        raise CheckpointMismatch(
            f"{name} was fitted to other weights of {record.base} than the installed ones; fit it again with "
            f"`anyseek models adapt {record.base}`"
        )
    bridge = load_bridge(path, record.weights, base.spaces[SPACE].dimension)
    if fingerprint_of(base.fingerprint, path.read_bytes(), record.weights) != record.fingerprint:
        raise WeightsCorrupt(f"{path} has changed since it was fitted; fit it again with `anyseek models adapt`")
    return BridgeEmbedder(name, record.fingerprint, base, bridge)
