"""Labellers of pictures, captions and metadata: what they give, the same each time, and nothing that is not known."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyseek.model.data.contents import decode_value, encode_value
from anyseek.model.data.labellers.computed import caption_fields, normal_fields, picture_fields
from anyseek.model.data.registry import LABELLERS, BuildSettings, Labeller, labeller_kind
from anyseek.model.data.samples import Caption, DataSample, Origin, Shares
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.seam import Regions

PICTURES = arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40), st.just(3)))


def sample(**values: object) -> DataSample:
    return DataSample("key", values)


def labeller(name: str) -> Labeller:
    return labeller_kind(name).open(None, BuildSettings(Path("home"), 224, Shares()))


@pytest.mark.parametrize("name", LABELLERS)
def test_every_kind_is_there_and_has_options(name):
    assert labeller_kind(name).options.__doc__


@settings(max_examples=20)
@given(PICTURES)
def test_whatever_the_picture_labels_can_be_stored_and_are_the_same_each_time(picture):
    for name in ("canny_edge", "soft_edge", "color_palette"):
        first, again = (labeller(name).label(sample(rgb=picture)) for _ in range(2))
        assert labeller(name).needs == {"rgb"}
        assert first.keys() == {name}
        for modality, value in first.items():
            assert encode_value(modality, value) == encode_value(modality, again[modality])
            decode_value(*encode_value(modality, value))


def test_canny_varies_with_the_key():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    samples = [DataSample(f"{number}", {"rgb": picture}) for number in range(6)]
    assert len({labeller("canny_edge").label(sample)["canny_edge"].tobytes() for sample in samples}) > 3


def test_a_picture_has_palettes_of_as_many_colours_as_it_has():
    two = np.zeros((64, 64, 3), np.uint8)
    two[16:48, 8:32], two[16:48, 32:56] = (250, 10, 10), (10, 10, 250)
    palettes = labeller("color_palette").label(sample(rgb=two))["color_palette"]
    assert [len(palette) for palette in palettes] == [1, 2]
    assert sorted(palettes[1].tolist()) == [[10, 10, 250], [250, 10, 10]]


def test_template_captions_come_after_human_ones_and_say_so():
    captioned = labeller("caption")
    there = (Caption("my own cup", Origin.HUMAN), Caption("cup", Origin.HUMAN))
    about = {"label": "cup", "medium": "photo"}
    found = captioned.label(DataSample("k", {"caption": there}, about))["caption"]
    assert found[:2] == there
    assert {caption.origin for caption in found[2:]} == {Origin.TEMPLATE}
    assert len({caption.text for caption in found}) == len(found)
    assert "a photo of cup" in {caption.text for caption in found}
    assert captioned.label(DataSample("k", {}, {})) == {}


@pytest.mark.parametrize("medium", ["emoji", "photo", "clip art", "painting", None])
def test_every_medium_has_texts_with_the_label(medium):
    about = {"label": "red apple", "tags": ["fruit", "food"], **({"medium": medium} if medium else {})}
    texts = [caption.text for caption in labeller("caption").label(DataSample("k", {}, about))["caption"]]
    assert len(texts) >= 3
    assert "red apple" in texts[0]


def test_picture_fields_of_known_pictures():
    grey = picture_fields(np.full((8, 8, 3), 100, np.uint8))
    assert grey == {"colorfulness": 0.0, "brightness": 100.0, "contrast": 0.0, "saturation": 0.0, "entropy": 0.0}
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, 4:] = 255
    assert picture_fields(halves)["contrast"] == pytest.approx(127.5)
    assert picture_fields(halves)["entropy"] == pytest.approx(1.0)
    red = picture_fields(np.full((4, 4, 3), (200, 0, 0), np.uint8))
    assert red["saturation"] == 255
    assert red["colorfulness"] == pytest.approx(0.3 * np.hypot(200, 100))


def test_caption_fields_are_of_the_first_caption():
    two = (Caption("A cup. It is red, isn't it?", Origin.HUMAN), Caption("x", Origin.HUMAN))
    assert caption_fields(two) == {"caption_n_chars": 27, "caption_n_words": 7, "caption_n_sentences": 2}
    assert caption_fields((Caption("v1.5 cup", Origin.HUMAN),))["caption_n_sentences"] == 1
    assert caption_fields(()) == {}


def test_geometric_complexity_is_0_for_a_wall_and_1_for_all_directions():
    wall = np.full((6, 6, 3), (128, 128, 255), np.uint8)
    assert normal_fields(wall)["geometric_complexity"] == pytest.approx(0.0, abs=1e-4)
    random = np.random.default_rng(0).normal(size=(90, 90, 3))
    units = random / np.linalg.norm(random, axis=2, keepdims=True)
    assert normal_fields(((units + 1) * 127.5).astype(np.uint8))["geometric_complexity"] > 0.95
    assert normal_fields(np.full((4, 4, 3), 127, np.uint8)) == {}


def test_metadata_has_what_can_be_known_and_keeps_what_the_source_says():
    values = {
        "bounding_boxes": tuple(LabelledBox(Box(0, 0, 1, 1), label) for label in ("cup", "cup", "sofa")),
        "semseg": Regions(np.arange(6).reshape(2, 3) // 2),
        "metadata": Metadata({"walkability": 0.5, "semantic_diversity": 9}),
    }
    found = labeller("metadata").label(DataSample("k", values, {"original_width": 640}))["metadata"].values
    computed = {"original_width": 640, "n_coco_instances": 3, "coco_instance_diversity": 2}
    assert found == {**computed, "walkability": 0.5, "semantic_diversity": 9}
    assert labeller("metadata").label(sample()) == {}
