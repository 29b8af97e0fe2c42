"""Labellers that use the two encoders; skipped where these are not pulled. Tokens by random weights."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyseek.model.config import Config
from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.labellers.encoded import (
    CAPTION_STATES,
    FEATURE_MAP,
    SEMANTIC_GLOBAL,
    VISUAL_GLOBAL,
    FeatureOptions,
)
from anyseek.model.data.labellers.tokens import TOKENS, TokenOptions
from anyseek.model.data.registry import BuildSettings, LabellerKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Shares
from anyseek.model.encoders.baselines import Encoders as BaselineEncoders
from anyseek.model.encoders.pull import encoders_folder
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.seam import Regions
from tests.random_weights import write_random_models

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
PLACE = BuildSettings(HOME, 224, Shares())
needs_encoders = pytest.mark.skipif(
    not encoders_folder(HOME).is_dir(), reason="the encoders are not pulled (`anyseek models pull encoders`)"
)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rows, columns = np.indices((60, 90))
    return np.stack([rows * 4, columns * 2, rows + columns], axis=2).astype(np.uint8)


def human(*texts: str) -> tuple[Caption, ...]:
    return tuple(Caption(text, Origin.HUMAN) for text in texts)


def vector_of(text: str) -> np.ndarray:
    return np.asarray(BaselineEncoders(HOME).sentences([text])[0])


def labels(kind: LabellerKind, options: Config | None = None, **values: object) -> Mapping[str, np.ndarray]:
    """What a labeller gives for a sample of these values."""
    return kind.open(options, PLACE).label(DataSample("k", values))


@needs_encoders
def test_feature_maps_are_those_of_the_encoder(picture):
    found = labels(FEATURE_MAP, FeatureOptions(), rgb=picture)
    assert found["rgb_features"].shape == (7, 7, 256)
    assert found["rgb_features"].dtype == np.float16
    expected, _ = BaselineEncoders(HOME).pictures([picture])
    pooled = torch.from_numpy(found["rgb_pooled"].astype(np.float32))
    assert float(F.normalize(pooled, dim=0) @ torch.from_numpy(expected[0])) > 0.9999
    np.testing.assert_allclose(labels(VISUAL_GLOBAL, rgb=picture)["visual_global"], expected[0], atol=1e-5)


@needs_encoders
@pytest.mark.parametrize(
    ("modality", "value"),
    [
        ("canny_edge", np.eye(30, dtype=np.uint8) * 255),
        ("depth", np.linspace(1, 5, 600, dtype=np.float32).reshape(20, 30)),
        ("normal", np.full((20, 30, 3), 128, np.uint8)),
        ("semseg", Regions(np.arange(600).reshape(20, 30) // 200, {1: "sofa"})),
        ("bounding_boxes", (LabelledBox(Box(0.1, 0.1, 0.5, 0.6), "cup"),)),
        ("color_palette", (np.array([[9, 9, 9]], np.uint8), np.array([[9, 9, 9], [200, 0, 0]], np.uint8))),
    ],
)
def test_maps_are_looked_at_as_pictures(modality, value):
    found = labels(FEATURE_MAP, FeatureOptions(of=modality), **{modality: value})
    assert found.keys() == {f"{modality}_features", f"{modality}_pooled"}
    assert np.isfinite(found[f"{modality}_features"].astype(np.float32)).all()


@needs_encoders
def test_states_of_captions_are_one_after_the_other():
    texts = human("a cup", "a much longer text about a red cup on a table")
    both, first = labels(CAPTION_STATES, caption=texts), labels(CAPTION_STATES, caption=texts[:1])
    assert both["caption_lengths"].sum() == len(both["caption_states"])
    np.testing.assert_allclose(both["caption_states"][: both["caption_lengths"][0]], first["caption_states"], atol=1e-4)
    np.testing.assert_allclose(both["caption_vectors"][0], vector_of("a cup"), atol=1e-4)
    assert labels(CAPTION_STATES, caption=()) == {}


@needs_encoders
def test_the_semantic_vector_is_of_human_captions_then_templates():
    template = (Caption("a photo of a dog", Origin.TEMPLATE),)
    both, alone = labels(SEMANTIC_GLOBAL, caption=human("a cup") + template), labels(SEMANTIC_GLOBAL, caption=template)
    np.testing.assert_allclose(both["semantic_global"], vector_of("a cup"), atol=1e-4)
    np.testing.assert_allclose(alone["semantic_global"], vector_of("a photo of a dog"), atol=1e-4)
    assert labels(SEMANTIC_GLOBAL) == {}


@pytest.mark.slow
@needs_encoders
def test_the_semantic_vector_of_a_picture_without_captions_is_of_class_names(picture):
    found = labels(SEMANTIC_GLOBAL, rgb=picture)
    encoders = BaselineEncoders(HOME)
    expected = encoders.conse(encoders.pictures([picture])[1])[0]
    np.testing.assert_allclose(found["semantic_global"], expected, atol=1e-4)


@needs_encoders
def test_views_are_stacked_the_unchanged_one_first_and_the_same_each_time(picture):
    plain, first, again = (labels(FEATURE_MAP, FeatureOptions(views=views), rgb=picture) for views in (1, 3, 3))
    assert first["rgb_features"].shape == (3, 7, 7, 256)
    assert first["rgb_pooled"].shape == (3, 1280)
    np.testing.assert_array_equal(first["rgb_features"][0], plain["rgb_features"])
    np.testing.assert_array_equal(first["rgb_features"], again["rgb_features"])
    assert not np.array_equal(first["rgb_pooled"][1], first["rgb_pooled"][2])


@needs_encoders
def test_half_precision_sees_nearly_the_same(picture):
    found = {}
    for precision in ("float32", "bfloat16"):
        made = labels(FEATURE_MAP, FeatureOptions(views=2, precision=precision), rgb=picture)
        found[precision] = [torch.from_numpy(made[name].astype(np.float32)) for name in ("rgb_features", "rgb_pooled")]
    (maps, pooled), (half_maps, half_pooled) = found["float32"], found["bfloat16"]
    assert half_maps.shape == maps.shape == (2, 7, 7, 256)
    assert torch.equal(half_maps[0], maps[0])  # the unchanged view is seen as in use
    assert torch.equal(half_pooled[0], pooled[0])
    assert 0.98 < float(F.cosine_similarity(half_pooled[1], pooled[1], dim=0)) < 0.99999


def test_tokens_are_those_of_the_networks_tokenizer(tmp_path, picture):
    write_random_models(tmp_path)
    settings = BuildSettings(tmp_path, 224, Shares())
    options = TokenOptions(of="rgb")
    labeller = TOKENS.open(options, settings)
    codes = labeller.label(DataSample("k", {"rgb": picture}))["tok_rgb"]
    assert codes.shape == (196,)
    assert codes.dtype == np.int32
    assert "tok_rgb@224" in TOKENS.fetch(options, settings)
    with pytest.raises(RecipeInvalid, match="needs no tokenizer"):
        TOKENS.fetch(TokenOptions(of="caption"), settings)
