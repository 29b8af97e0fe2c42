"""Labellers that run the encoders: EfficientNet-Lite0 on pictures, MiniLM on captions."""

import zlib
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field

from anyseek.model.config import Config
from anyseek.model.data.contents import perturb
from anyseek.model.data.registry import BuildSettings, Labeller, LabellerKind
from anyseek.model.data.samples import Caption, DataSample, Origin
from anyseek.model.encoders.efficientnet import Features, class_sentences, conse, load_efficientnet
from anyseek.model.encoders.minilm import TextStates, load_minilm
from anyseek.model.encoders.preprocess import VERSION, content_pixels, encoder_input, render_for_encoder
from anyseek.model.encoders.pull import check_encoders, encoders_digest, encoders_folder
from anyseek.model.files import file_digest
from anyseek.model.fourm.bundled.bundle import PROJECTION, WEIGHTS
from anyseek.model.fourm.bundled.shortcuts import Projection, load_projection
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.registry import DATA_FIELDS, MODALITIES, Content, field_content
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.seam import FloatArray

HalfArray = npt.NDArray[np.float16]
_TEXTS_AT_ONCE = 64
_PROJECTION = WEIGHTS / "4m-tiny" / PROJECTION


class Encoders:
    """EfficientNet-Lite0 and MiniLM, each loaded lazily and caching its last result."""

    def __init__(self, home: Path) -> None:
        self._folder = encoders_folder(home)
        self._cached_features: tuple[ByteArray, Features] | None = None
        self._cached_states: tuple[tuple[str, ...], TextStates] | None = None

    @torch.inference_mode()
    def features(self, pixels: ByteArray) -> Features:
        """The encoder's output for uint8 (224, 224, 3), as a batch of one."""
        if self._cached_features is None or not np.array_equal(self._cached_features[0], pixels):
            self._cached_features = pixels, self._picture_encoder(encoder_input([pixels]))
        return self._cached_features[1]

    @torch.inference_mode()
    def half_features(self, pixels: ByteArray) -> Features:
        """The encoder's output in bfloat16 for uint8 (224, 224, 3), in half the time if the CPU supports bfloat16."""
        features: Features = self._half_picture_encoder(encoder_input([pixels]).bfloat16())
        return features

    @torch.inference_mode()
    def states(self, texts: Sequence[str]) -> TextStates:
        """The encoder's output for n texts."""
        if self._cached_states is None or self._cached_states[0] != tuple(texts):
            self._cached_states = tuple(texts), self._text_encoder(texts)
        return self._cached_states[1]

    @torch.inference_mode()
    def conse(self, pixels: ByteArray) -> FloatArray:
        """A sentence vector of uint8 (224, 224, 3) from its class probabilities: unit (384,)."""
        return conse(self.features(pixels).logits, self._classes)[0].numpy()

    @cached_property
    def _picture_encoder(self) -> torch.nn.Module:
        return load_efficientnet(self._folder / "efficientnet-lite0.safetensors")

    @cached_property
    def _half_picture_encoder(self) -> torch.nn.Module:
        return load_efficientnet(self._folder / "efficientnet-lite0.safetensors").bfloat16()

    @cached_property
    def _text_encoder(self) -> torch.nn.Module:
        return load_minilm(self._folder / "minilm-l6.safetensors", self._folder / "minilm-l6.tokenizer.json")

    @cached_property
    def _classes(self) -> torch.Tensor:
        """Vectors of the class names: unit (1000, 384)."""
        names = class_sentences()
        starts = range(0, len(names), _TEXTS_AT_ONCE)
        return torch.cat([self._text_encoder(names[start : start + _TEXTS_AT_ONCE]).pooled for start in starts])


@cache
def shared_encoders(home: Path) -> Encoders:
    """The encoders of this process, cached by `home`."""
    return Encoders(home)


def identify_encoders(options: object, settings: BuildSettings) -> str:
    """Digests of the encoders' weights and the version of preprocessing. Raises `WeightsMissing`, `WeightsCorrupt`."""
    check_encoders(settings.home)
    return f"encoders {encoders_digest()[:16]}, preprocessing {VERSION}"


def _check_renderable(field: str) -> str:
    contents = {name: field_content(name) for name in (*MODALITIES, *DATA_FIELDS)}
    renderable = [name for name, content in contents.items() if content and CONTENTS[content].render]
    if field not in renderable:
        raise ValueError(f"must be one of {', '.join(renderable)}")
    return field


class FeatureOptions(Config):
    """`of` is the modality to encode: once unchanged, and in `views` - 1 perturbations (`model.data.perturbations`).

    `precision` is the encoder's precision for perturbed views. `bfloat16` takes half the time, and its vectors of rooms
    have a cosine of 0.995 to those of `float32`, which acts as another perturbation. The unchanged view always uses
    float32, as inference does.
    """

    of: Annotated[str, AfterValidator(_check_renderable)] = "rgb"
    views: Annotated[int, Field(ge=1, le=64)] = 1
    precision: Literal["float32", "bfloat16"] = "float32"


def feature_map(options: FeatureOptions, encoders: Encoders) -> Labeller:
    """`<of>_features` float16 (7, 7, 256), projected as for the bundled weights, and `<of>_pooled` float16 (1280,).

    With several views, both are stacks with the unchanged view first.
    """
    field = options.of
    content = field_content(field)
    assert content is not None, "`FeatureOptions` validates the field"
    encode_view = encoders.half_features if options.precision == "bfloat16" else encoders.features

    def pixels(value: Any) -> ByteArray:
        """uint8 (224, 224, 3); of several palettes, the one with the most colours."""
        return content_pixels(content, value[-1] if content is Content.PALETTE else value)

    def label(sample: DataSample) -> dict[str, Any]:
        value = sample.values[field]
        views = [encoders.features(pixels(value))]
        for view in range(1, options.views):
            generator = np.random.default_rng(zlib.crc32(f"{sample.key} {field} {view}".encode()))
            views.append(encode_view(pixels(perturb(field, value, generator))))
        maps, pooled = (np.concatenate(arrays) for arrays in zip(*map(_stored_features, views), strict=True))
        if options.views == 1:
            maps, pooled = maps[0], pooled[0]
        return {f"{field}_features": maps, f"{field}_pooled": pooled}

    return Labeller(f"feature_map of {field}", label, {field})


@torch.inference_mode()
def _stored_features(features: Features) -> tuple[HalfArray, HalfArray]:
    """Projected maps (n, 7, 7, 256) and pooled vectors (n, 1280)."""
    maps = _projection()(features.grid.float()).permute(0, 2, 3, 1)
    return maps.half().numpy(), features.pooled.half().numpy()


@cache
def _projection() -> Projection:
    return load_projection(_PROJECTION)


def visual_global(encoders: Encoders) -> Labeller:
    """`visual_global` unit float16 (1280,): the pooled vector of `rgb`."""

    def label(sample: DataSample) -> dict[str, Any]:
        pooled = encoders.features(render_for_encoder("rgb", sample.values["rgb"])).pooled[0]
        return {"visual_global": F.normalize(pooled, dim=0).numpy()}

    return Labeller("visual_global", label, {"rgb"})


def caption_states(encoders: Encoders) -> Labeller:
    """MiniLM's output for the n captions, in their order.

    `caption_states` float16 (all tokens, 384), `caption_lengths` int32 (n,) in tokens, `caption_vectors` unit
    float16 (n, 384).
    """

    def label(sample: DataSample) -> dict[str, Any]:
        texts = [caption.text for caption in sample.values["caption"]]
        if not texts:
            return {}
        encoded = encoders.states(texts)
        mask = ~encoded.unused
        return {
            "caption_states": encoded.states[mask].numpy(),
            "caption_lengths": mask.sum(dim=1).numpy().astype(np.int32),
            "caption_vectors": encoded.pooled.numpy(),
        }

    return Labeller("caption_states", label, {"caption"})


def semantic_global(encoders: Encoders) -> Labeller:
    """`semantic_global` unit float16 (384,): the sample's content as a sentence vector.

    It is the mean vector of the human captions, else of the templated ones; without captions, the class names'
    vectors weighted by their probabilities for `rgb` (ConSE).
    """

    def label(sample: DataSample) -> dict[str, Any]:
        captions: tuple[Caption, ...] = sample.values.get("caption", ())
        if captions:
            human = [caption.origin is Origin.HUMAN for caption in captions]
            vectors = encoders.states([caption.text for caption in captions]).pooled
            mean = (vectors[human] if any(human) else vectors).mean(dim=0)
            return {"semantic_global": F.normalize(mean, dim=0).numpy()}
        if "rgb" in sample.values:
            return {"semantic_global": encoders.conse(render_for_encoder("rgb", sample.values["rgb"]))}
        return {}

    return Labeller("semantic_global", label)


FEATURE_MAP = LabellerKind(
    lambda options, settings: feature_map(options, shared_encoders(settings.home)),
    FeatureOptions,
    lambda options, settings: f"{identify_encoders(options, settings)}, projection {file_digest(_PROJECTION)[:16]}",
)
VISUAL_GLOBAL = LabellerKind(lambda _, settings: visual_global(shared_encoders(settings.home)), fetch=identify_encoders)
CAPTION_STATES = LabellerKind(
    lambda _, settings: caption_states(shared_encoders(settings.home)), fetch=identify_encoders
)
SEMANTIC_GLOBAL = LabellerKind(
    lambda _, settings: semantic_global(shared_encoders(settings.home)), fetch=identify_encoders
)
