"""A bridge as an `Embedder`: an open_clip model that takes every modality, in its own space."""

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

    Safe for several threads if `base` is.
    """

    def __init__(self, name: str, fingerprint: str, base: Embedder, bridge: Bridge) -> None:
        super().__init__(name, fingerprint, SPACE, bridge.prior)
        self.modalities = frozenset(bridge.maps)
        self._base, self._bridge = base, bridge

    def vectors(self, samples: Sequence[Sample]) -> FloatArray:
        """The modalities of a sample have equal weight. Rows are already centred by modality."""
        self._check(samples)
        return self._directions(samples)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: the base's own vector of a photo, and its caption's direction from there.

        An item without a photo lies where photos like it would be.
        """
        return self._embed_with(samples, spaces, self._stored)

    def _check(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            if not sample.values:
                raise FormatInvalid(f"the model {self.name} was given a sample without any modality")
            for modality, value in sample.values.items():
                check_value(MODALITIES[modality], value)

    def _directions(self, samples: Sequence[Sample]) -> FloatArray:
        """Unit rows (n, d) around zero; the prior's direction for a sample that says nothing."""
        total = np.zeros((len(samples), self.space.dimension), np.float32)
        for modality in sorted({name for sample in samples for name in sample.values}):
            rows = [row for row, sample in enumerate(samples) if modality in sample.values]
            values = [samples[row].values[modality] for row in rows]
            total[rows] += self._bridge.maps[modality].directions(
                rendered_vectors(self._base, modality, values), features_of(modality, values)
            )
        found = unit(total)
        found[~found.any(axis=1)] = unit(self._bridge.prior)
        return found

    def _stored(self, samples: Sequence[Sample]) -> FloatArray:
        self._check(samples)
        total = np.zeros((len(samples), self.space.dimension), np.float32)
        photos = [row for row, sample in enumerate(samples) if PHOTO in sample.values]
        captioned = [row for row in photos if CAPTION in samples[row].values]
        others = [row for row, sample in enumerate(samples) if PHOTO not in sample.values]
        if photos:
            looks = rendered_vectors(self._base, PHOTO, [samples[row].values[PHOTO] for row in photos])
            assert looks is not None, "a photo can be rendered"
            total[photos] = looks
        if captioned:
            captions = [Sample({CAPTION: samples[row].values[CAPTION]}) for row in captioned]
            total[captioned] += np.float32(self._bridge.spread) * self._directions(captions)
        if others:
            total[others] = self._bridge.items(self._directions([samples[row] for row in others]))
        return unit(total)


def rendered_vectors(base: Embedder, modality: str, values: Sequence[Value]) -> FloatArray | None:
    """Unit vectors (n, d) by `base` of n values rendered as pictures; None for modalities that cannot be rendered.

    Raises `FormatInvalid` for a value that shows nothing.
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
    """The bridge called `bridge:NAME` below `home`, with the open_clip model that it belongs to.

    That model is on `device`. Raises `BadDevice`, `UnknownModel`, `PackageMissing`, `WeightsMissing`, `WeightsCorrupt`,
    `CheckpointMismatch`.
    """
    record, path = read_record(name, home), folder_of(name, home) / NUMBERS_FILE
    base = load_openclip_embedder(record.base, home, device)
    if base.fingerprint != record.base_fingerprint:
        raise CheckpointMismatch(
            f"{name} was fitted to other weights of {record.base} than those that are there; make it anew with "
            f"`anyseek models adapt {record.base}`"
        )
    bridge = load_bridge(path, record.weights, base.spaces[SPACE].dimension)
    if fingerprint_of(base.fingerprint, path.read_bytes(), record.weights) != record.fingerprint:
        raise WeightsCorrupt(f"{path} has changed since it was fitted; make it anew with `anyseek models adapt`")
    return BridgeEmbedder(name, record.fingerprint, base, bridge)
