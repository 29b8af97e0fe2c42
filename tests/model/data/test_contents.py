"""What is stored is what is read, and what data sets do with values of each content."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from anyseek.model.data.contents import (
    STORED,
    attributes_of,
    decode_value,
    downscale,
    encode_value,
    entry_of,
    perturb,
    read_value,
    sample_of,
)
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.perturbations import fill_outlines
from anyseek.model.data.samples import Caption, DataSample, Origin
from anyseek.model.data.shards import Entry
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Regions
from tests.model.modalities.files import png

FLAT = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)


def through(modality, value):
    return decode_value(*encode_value(modality, value))


EXACT = {  # arrays that are stored exactly, by field
    "normal": arrays(np.uint8, FLAT.map(lambda shape: (*shape, 3))),
    "soft_edge": arrays(np.uint8, FLAT),
    "canny_edge": arrays(np.bool_, FLAT).map(lambda drawn: (drawn * 255).astype(np.uint8)),
    "rgb_features": arrays(np.float16, array_shapes(min_dims=0), elements=st.floats(-60000, 60000, width=16)),
    "tok_depth": arrays(np.int32, array_shapes()),
}


@given(st.sampled_from(sorted(EXACT)).flatmap(lambda field: st.tuples(st.just(field), EXACT[field])))
def test_what_is_stored_exactly_is_kept(stored):
    field, value = stored
    assert through(field, value).dtype == value.dtype
    assert np.array_equal(through(field, value), value)
    assert encode_value(field, value) == encode_value(field, value.copy())


@given(arrays(np.float32, FLAT, elements=st.floats(0.015625, 1e6, width=32) | st.just(math.nan)))
def test_depth_is_kept_to_a_65535th_of_the_farthest(depth):
    found = through("depth", depth)
    assert found.dtype == np.float32
    assert np.array_equal(np.isnan(found), np.isnan(depth))
    if not np.isnan(depth).all():
        assert np.nanmax(np.abs(found - depth)) <= np.nanmax(depth) / 65535 * 1.01


@settings(max_examples=40)
@given(arrays(np.int32, FLAT, elements=st.integers(0, 65535)), st.dictionaries(st.integers(0, 9), st.text(max_size=5)))
def test_regions_are_kept_with_the_names_of_the_ids_that_are_there(ids, classes):
    found = through("semseg", Regions(ids, classes))
    assert np.array_equal(found.ids, ids)
    assert found.classes == {number: name for number, name in classes.items() if number in ids}


@given(st.lists(arrays(np.uint8, st.tuples(st.integers(1, 7), st.just(3))), max_size=7))
def test_palettes_are_kept(palettes):
    found = through("color_palette", tuple(palettes))
    assert len(found) == len(palettes)
    assert all(np.array_equal(a, b) for a, b in zip(found, palettes, strict=True))


BOX = st.builds(Box, *[st.floats(0, 1)] * 4)
DOCUMENTS = {  # values that are JSON
    "bounding_boxes": st.lists(st.builds(LabelledBox, BOX, st.sampled_from(["bus", "tv set"]), st.floats(0, 1))).map(
        tuple
    ),
    "caption": st.lists(st.builds(Caption, st.text(), st.sampled_from(Origin))).map(tuple),
    "metadata": st.dictionaries(st.sampled_from(list(FIELDS)), st.floats(-1e6, 1e6)).map(Metadata),
}


@given(st.sampled_from(sorted(DOCUMENTS)).flatmap(lambda field: st.tuples(st.just(field), DOCUMENTS[field])))
def test_documents_are_kept(stored):
    assert through(*stored) == stored[1]


def test_a_flat_picture_is_kept_exactly_and_a_noisy_one_closely():
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[10:30, 20:50] = (200, 30, 60)
    assert np.array_equal(through("rgb", flat), flat)
    smooth = np.indices((96, 96, 3)).sum(axis=0)
    noisy = (smooth + np.random.default_rng(0).integers(0, 12, smooth.shape)).astype(np.uint8)
    name, data = encode_value("rgb", noisy)
    assert name == "rgb.jpg"
    assert np.abs(decode_value(name, data).astype(int) - noisy).mean() < 4


@pytest.mark.parametrize(
    ("modality", "value"),
    [
        ("rgb", np.zeros((4, 4), np.uint8)),
        ("rgb", np.zeros((4, 4, 3), np.float32)),
        ("rgb", np.zeros((0, 4, 3), np.uint8)),
        ("depth", np.zeros((4, 4), np.float32)),
        ("depth", np.full((2, 2), -1.0, np.float32)),
        ("canny_edge", np.zeros((4, 4, 3), np.uint8)),
        ("semseg", Regions(np.full((2, 2), 65536))),
        ("semseg", Regions(np.full((2, 2), -1))),
        ("semseg", np.zeros((2, 2), np.uint8)),
        ("caption", ["words"]),
        ("color_palette", (np.zeros((8, 3), np.uint8),)),
        ("metadata", Metadata({"brightness": math.nan})),
        ("rgb_features", np.array([1e6])),
        ("rgb_features", np.array(["word"])),
    ],
)
def test_a_wrong_value_is_refused_by_its_modality(modality, value):
    with pytest.raises(SampleInvalid, match=r"modality|value of|JSON"):
        encode_value(modality, value)


@pytest.mark.parametrize("value", [np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), "words"])
def test_a_field_that_nothing_is_known_of_is_refused_and_becomes_no_array(value):
    with pytest.raises(SampleInvalid, match=r"'thermal' is no modality: declare it in modalities\.yaml, or name"):
        encode_value("thermal", value)
    with pytest.raises(SampleInvalid, match="'thermal' is no modality"):
        decode_value("thermal.png", b"")
    for use in (
        lambda: read_value("thermal", b"", "thermal/a.png"),
        lambda: downscale(DataSample("a", {"thermal": value}), 20),
        lambda: perturb("thermal", value, np.random.default_rng(0)),
    ):
        with pytest.raises(SampleInvalid, match="'thermal' is no modality"):
            use()


def test_what_says_that_it_is_an_array_is_one():
    assert through("emb_array", np.ones(3, np.float16)).tolist() == [1, 1, 1]
    _, data = encode_value("emb_array", np.arange(3))
    assert decode_value("emb.npy", data).tolist() == [0, 1, 2]  # of a data set that was made before names were checked


GREY = 127


@pytest.mark.parametrize("field", ["rgb", "canny_edge", "normal"])
def test_a_picture_of_16_bits_keeps_its_brightness(field):
    """Read as 8 bits, all above 255 were white: the mean of this ramp was 254 in training and 127 as a query."""
    ramp = png(np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64))
    value = read_value(field, ramp, "ramp.png")
    assert abs(value.mean() - GREY) < 1
    assert (value == decode(field, ramp, FileLimits(), "ramp.png")).all()


@pytest.mark.parametrize(("field", "size"), [("rgb", (900, 700)), ("depth", (900, 700)), ("semseg", (900, 700))])
def test_files_are_read_at_their_own_size(field, size):
    value = read_value(field, png(np.full(size[::-1], 3, np.uint8)), "large.png")
    assert (value.ids if field == "semseg" else value).shape[:2] == size[::-1]


BOXES = b'[{"box": [0.1, 0.2, 0.3, 0.4], "label": "cup"}]'  # no score: a query may leave it out


@pytest.mark.parametrize(
    ("field", "data", "expected"),
    [
        ("bounding_boxes", BOXES, (LabelledBox(Box(0.1, 0.2, 0.3, 0.4), "cup", 1.0),)),
        ("metadata", b'{"brightness": 3}', Metadata({"brightness": 3.0})),
        ("caption", b" a cup \n\n two   cups ", (Caption("a cup", Origin.HUMAN), Caption("two cups", Origin.HUMAN))),
    ],
)
def test_documents_and_words_are_read_as_those_of_queries(field, data, expected):
    assert read_value(field, data, "x.txt") == expected


@pytest.mark.parametrize("data", [b"#ff0000,#00ff00", b'["#ff0000", "#00ff00"]', b'[["#ff0000", "#00ff00"]]'])
def test_a_palette_is_read_as_one_of_a_query_or_several_of_a_shard(data):
    (palette,) = read_value("color_palette", data, "p.json")
    assert palette.tolist() == [[255, 0, 0], [0, 255, 0]]


BROKEN = [b"{}", b"[]", b"null", b"[1]", b'[{"box": [1]}]', b'{"a": []}', b"\x93NUMPY\x01\x00", b"\x89PNG\r\n\x1a\n"]
BROKEN += [b"\xff\n"]  # JPEG XL's first bytes, whose decoder raises a RuntimeError


@settings(max_examples=200)
@given(
    st.sampled_from(["rgb", "depth", "semseg", "caption", "color_palette", "metadata", "bounding_boxes", "x_features"]),
    st.binary(max_size=80) | st.sampled_from(BROKEN),
)
def test_whatever_the_bytes_nothing_but_sample_invalid_is_raised(modality, data):
    with suppress(SampleInvalid):
        decode_value(f"{modality}.x", data)


def test_a_file_cut_off_anywhere_is_refused():
    name, data = encode_value("semseg", Regions(np.arange(600).reshape(20, 30), {3: "sofa"}))
    for length in range(0, len(data) - 40, 7):  # Pillow does not miss the checksums after the pixels
        with pytest.raises(SampleInvalid, match="semseg"):
            decode_value(name, data[:length])


def test_a_sample_is_kept_with_its_attributes():
    sample = DataSample(
        "a b.png", {"caption": (Caption("words", Origin.HUMAN),)}, {"label": "cup", "tags": ["tea"], "width": 3}
    )
    entry = entry_of("photos/a%20b%2Epng", sample)
    assert sorted(entry.files) == ["attributes.json", "caption.json"]
    assert sample_of(entry) == sample


def test_attributes_that_are_no_json_object_are_refused():
    for data in (b"[]", b"{", b"\xff"):
        with pytest.raises(SampleInvalid, match="attributes"):
            attributes_of(Entry("a", {"attributes.json": data}))


def test_every_content_has_one_record():
    assert set(STORED) == set(Content)


def values_of(shape: tuple[int, int], seed: int) -> dict[str, object]:
    random = np.random.default_rng(seed)
    depth = random.uniform(0.5, 9, shape).astype(np.float32)
    depth[random.random(shape) < 0.3] = np.nan
    return {
        "rgb": random.integers(0, 256, (*shape, 3)).astype(np.uint8),
        "canny_edge": (random.random(shape) < 0.1).astype(np.uint8) * 255,
        "depth": depth,
        "semseg": Regions(random.integers(0, 300, shape), {1: "sofa"}),
    }


def sample(*shape: int) -> DataSample:
    return DataSample("a", {**values_of(shape, 0), "caption": ()})


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 64), (301, 47)])
def test_the_short_side_is_what_was_asked_and_all_maps_have_the_shape_of_the_picture(shape):
    found = downscale(sample(*shape), 32).values
    height, width = found["rgb"].shape[:2]
    assert min(height, width) == 32
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.05)
    assert found["depth"].shape == found["semseg"].ids.shape == found["canny_edge"].shape == (height, width)
    again = downscale(DataSample("a", found), 32).values  # not larger any more
    assert all(again[name] is found[name] for name in found)


def test_depths_and_ids_are_picked_and_never_blended():
    whole, found = sample(90, 70), downscale(sample(90, 70), 24)
    depths = found.values["depth"]
    assert np.isnan(depths).any()
    assert np.isin(depths[~np.isnan(depths)], whole.values["depth"]).all()
    assert np.isin(found.values["semseg"].ids, whole.values["semseg"].ids).all()
    assert found.values["semseg"].classes == {1: "sofa"}


SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.tuples(st.integers(8, 40), st.integers(8, 40))


@settings(max_examples=15)
@given(SIDES, SEEDS)
def test_changed_values_can_be_stored_and_are_the_same_for_the_same_seed(shape, seed):
    for modality, value in values_of(shape, seed).items():
        first, again = (perturb(modality, value, np.random.default_rng(seed)) for _ in range(2))
        assert encode_value(modality, first) == encode_value(modality, again)


@given(arrays(np.float32, SIDES, elements=st.just(np.nan)), SEEDS)
def test_a_depth_map_of_nothing_stays_one(depth, seed):
    assert np.isnan(perturb("depth", depth, np.random.default_rng(seed))).all()


def test_a_closed_outline_is_filled_and_an_open_one_is_not():
    closed = np.zeros((20, 20), np.uint8)
    closed[4:16, 4:16] = 255
    closed[5:15, 5:15] = 0
    opened = closed.copy()
    opened[10, 4] = 0
    assert (fill_outlines(closed)[4:16, 4:16] == 255).all()
    assert not fill_outlines(closed)[:4].any()
    np.testing.assert_array_equal(fill_outlines(opened), opened)


def test_ids_are_changed_together_and_names_go_with_them():
    regions = Regions(np.arange(64).reshape(8, 8) // 16, {0: "wall", 1: "sofa"})
    for seed in range(30):
        found = perturb("semseg", regions, np.random.default_rng(seed))
        assert found.classes in ({}, regions.classes)
        assert len(np.unique(found.ids)) <= 4


def test_a_changed_drawing_is_still_a_drawing():
    drawing = np.zeros((60, 60), np.uint8)
    drawing[10:50, 20], drawing[30, 10:50] = 255, 255
    for seed in range(8):
        assert len(np.unique(perturb("canny_edge", drawing, np.random.default_rng(seed)))) > 1
