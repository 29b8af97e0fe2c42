"""Values to inputs and tokens to values, kind by kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyseek.model.fourm import images
from anyseek.model.fourm.codecs import (
    FORMATS,
    DecodedValue,
    DiffusionOptions,
    FeatureTokenCodec,
    ImageTokenCodec,
    PixelCodec,
    TextCodec,
    TextStateCodec,
    VectorTokenCodec,
)
from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.loading import load_published
from anyseek.model.fourm.published.modalities import FORMS
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.formats.spans import FormatInvalid, TextStates
from anyseek.model.network.config import PUBLISHED_MODALITIES, ConfigInvalid, EmbeddingKind, ModalityConfig
from anyseek.model.tokenizers.diffusion import Scheduler
from anyseek.model.tokenizers.text import TextTokenizer
from tests.model.fourm.published.values import PICTURE, VALUES

SEQUENCES = ["caption", "bounding_boxes", "metadata", "color_palette", "human_pose", "sam_instance"]


def _row(key: str) -> ModalityConfig:
    return PUBLISHED_MODALITIES[key]


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_come_back_as_they_went_in(parts: FourMParts, name: str) -> None:
    (form,) = FORMS[name]
    codec = form.codec
    assert isinstance(codec, TextCodec)
    tokens = codec.encode(parts.tokenizers, _row(form.key), VALUES[name])
    again = codec.decode(parts.tokenizers, _row(form.key), tokens, DiffusionOptions()).value
    assert torch.equal(codec.encode(parts.tokenizers, _row(form.key), again), tokens)
    if name in ("sam_instance", "color_palette"):  # whole numbers lose nothing
        np.testing.assert_array_equal(again, VALUES[name])


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 80))
def test_long_sequences_are_cut_to_what_was_trained(parts: FourMParts, count: int) -> None:
    boxes = (LabelledBox(Box(0.1, 0.2, 0.3, 0.4), "bus"),) * count
    tokens = TextCodec("det").encode(parts.tokenizers, _row("det"), boxes)
    assert len(tokens) == min(5 * count + 1, 256)
    assert len(TextCodec("det").decode(parts.tokenizers, _row("det"), tokens, DiffusionOptions()).value) == min(
        count, 51
    )


def test_one_codec_serves_both_sizes(parts: FourMParts) -> None:
    codec = ImageTokenCodec(names.SEMSEG, images.label_image, images.regions_of)
    for key, side in (("tok_semseg@224", 14), ("tok_semseg@448", 28)):
        tokens = codec.encode(parts.tokenizers, _row(key), VALUES["semseg"])
        assert tokens.shape == (side * side,)
        regions = codec.decode(parts.tokenizers, _row(key), tokens, DiffusionOptions()).value
        assert regions.ids.shape == (16 * side, 16 * side)
    assert PixelCodec(images.rgb_input).encode(parts.tokenizers, _row("rgb@448"), PICTURE).shape == (3, 448, 448)


def test_a_tokenizer_that_was_loaded_in_inference_mode_serves_outside_of_it_too(published_home: Path) -> None:
    model = load_published("4M-21_B", published_home)
    with torch.inference_mode():
        model.parts.tokenizers.tokenizer(names.SEMSEG)
    codec = ImageTokenCodec(names.SEMSEG, images.label_image, images.regions_of)
    assert codec.encode(model.parts.tokenizers, _row("tok_semseg@224"), VALUES["semseg"]).shape == (14 * 14,)


def test_diffusion_is_repeatable_and_takes_the_scheduler_asked_for(parts: FourMParts) -> None:
    codec, row = FORMS["depth"][0].codec, _row("tok_depth@224")
    assert isinstance(codec, ImageTokenCodec)
    tokens = codec.encode(parts.tokenizers, row, VALUES["depth"])

    def decoded(seed: int, scheduler: Scheduler | None) -> DecodedValue:
        return codec.decode(parts.tokenizers, row, tokens, DiffusionOptions(2, scheduler, seed))

    first, again = decoded(0, None).value, decoded(0, None).value
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, decoded(0, Scheduler.DDPM).value)
    for other in (decoded(1, None), decoded(0, Scheduler.DDIM)):
        assert not np.array_equal(first, other.value)


@torch.no_grad()
def test_vectors_and_features(parts: FourMParts) -> None:
    vector = VectorTokenCodec(names.DINOV2_GLOBAL)
    tokens = vector.encode(parts.tokenizers, _row("tok_dinov2_global"), VALUES["dinov2_global"])
    assert tokens.shape == (16,)
    value = vector.decode(parts.tokenizers, _row("tok_dinov2_global"), tokens, DiffusionOptions()).value
    assert np.linalg.norm(value) == pytest.approx(1, abs=1e-5)
    features = FeatureTokenCodec(names.IMAGEBIND)
    tokens = features.encode(parts.tokenizers, _row("tok_imagebind@224"), VALUES["imagebind"])
    assert tokens.shape == (256,)
    found = features.decode(parts.tokenizers, _row("tok_imagebind@224"), tokens, DiffusionOptions()).value
    assert found.shape == (1280, 16, 16)


def test_states_need_the_width_of_the_network(parts: FourMParts) -> None:
    with pytest.raises(FormatInvalid, match="t5_caption have 4096 numbers each, not 8"):
        TextStateCodec().encode(parts.tokenizers, _row("t5_caption"), TextStates(np.zeros((2, 8), np.float32)))


def test_tokenizers_of_another_kind_are_refused(parts: FourMParts) -> None:
    with pytest.raises(ConfigInvalid, match="is a tokenizer of images, not of vectors"):
        VectorTokenCodec(names.CLIP).encode(parts.tokenizers, _row("tok_dinov2_global"), VALUES["dinov2_global"])
    with pytest.raises(ConfigInvalid, match="is a tokenizer of vectors, not of images"):
        FeatureTokenCodec(names.DINOV2_GLOBAL).encode(parts.tokenizers, _row("tok_clip@224"), VALUES["clip"])
    oblong = ModalityConfig("oblong", EmbeddingKind.PIXELS, (2, 3), patch=4)
    with pytest.raises(ConfigInvalid, match="2 x 3 tokens; images are square"):
        PixelCodec(images.rgb_input).encode(parts.tokenizers, oblong, PICTURE)


PUBLISHED = Path(__file__).parents[5] / "shared/data/text_tokenizer_4m_wordpiece_30k.json"

PERSON = HumanPose(Box(0, 0, 1, 1), tuple(range(508, 516)), (-1.0,) * 9, (-1.0,) * 3, (3.0,) * 10)
MASK = MaskInstance(Box(0.0, 1.0, 222.0, 223.0), tuple(range(504, 520)))
SEQUENCE_VALUES: dict[str, Any] = {
    "caption": "two cats on a sofa, one asleep",
    "det": [LabelledBox(Box(0, 0, 1, 1), "hot dog"), LabelledBox(Box(1, 0, 1, 1), "person")],
    "metadata": Metadata({"semantic_diversity": 12, "brightness": 255, "aesthetic_score": 5.0}),
    "color_palette": np.array([[0, 128, 255], [1, 2, 3]], np.uint8),
    "human_poses": [PERSON, PERSON],
    "sam_instance": [QueryPoint(3, 200), QueryPoint(0, 223, (MASK, MASK))],
}


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published vocabulary is not beside the project")
@pytest.mark.parametrize("key", FORMATS)
def test_values_come_back_from_ids(key: str) -> None:
    tokenizer, kind = TextTokenizer.from_file(PUBLISHED), FORMATS[key]
    ids = [*tokenizer.encode(kind.to_text(SEQUENCE_VALUES[key])), tokenizer.end_id]
    assert tokenizer.unknown_id not in ids
    back = kind.from_text(tokenizer.decode(ids))
    if key == "color_palette":
        np.testing.assert_array_equal(back, SEQUENCE_VALUES[key])
    else:
        assert back == SEQUENCE_VALUES[key]


@pytest.mark.parametrize("key", FORMATS)
def test_nothing_is_read_from_an_empty_text(key: str) -> None:
    read: Callable[[str], Any] = FORMATS[key].from_text
    nothing = read("[S_1] [EOS]")
    assert len(nothing.values if isinstance(nothing, Metadata) else nothing) == 0
