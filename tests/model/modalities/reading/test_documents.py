"""Documents and arrays: what is read is what was written, and whatever else is sent is one sentence."""

import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.reading import documents
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.documents import MAX_ENTRIES
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import (
    BadDocument,
    BadMap,
    DecodeError,
    EmptyInput,
    TooManyPixels,
)
from anyseek.model.modalities.rendering.files import json_file, npy_file
from tests.model.modalities.formats.strategies import boxes, codes, unit

LIMITS = FileLimits()
DOCUMENTS = ("bounding_boxes", "metadata", "human_pose", "sam_instance", "color_palette")
ARRAYS = ("clip", "dinov2", "imagebind", "dinov2_global", "imagebind_global", "t5_caption")

numbers = st.floats(-1e9, 1e9)
pixels = st.integers(0, 999)
labels = st.lists(st.text("abcxyzé", min_size=1), min_size=1, max_size=3).map(" ".join)
pixel_boxes = st.builds(Box, *[st.integers(0, 999).map(float)] * 4)
masks = st.builds(MaskInstance, pixel_boxes, st.tuples(*[codes] * 16))
people = st.builds(
    HumanPose,
    boxes,
    st.tuples(*[codes] * 8),
    st.tuples(*[numbers] * 9),
    st.tuples(*[numbers] * 3),
    st.tuples(*[numbers] * 10),
)
points = st.builds(QueryPoint, pixels, pixels, st.lists(masks, max_size=3).map(tuple))
PERSON = {"box": [0, 0, 1, 1], "pose": [1] * 8, "rotation": [0] * 9, "camera": [0] * 3, "shape": [0] * 10}
MASK = {"box": [1, 2, 3, 4], "tokens": [5] * 16}


def _tuples(entries: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(entries, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("modality", "values", "members"),
    [
        ("boxes", _tuples(st.builds(LabelledBox, boxes, labels, unit)), documents.boxes_to_json),
        ("human_pose", _tuples(people), documents.poses_to_json),
        ("sam_instance", _tuples(points), documents.instances_to_json),
        (
            "metadata",
            st.dictionaries(st.sampled_from(list(FIELDS)), numbers).map(Metadata),
            documents.metadata_to_json,
        ),
    ],
)
@settings(max_examples=50)
@given(data=st.data())
def test_values_come_back(modality: str, values: Any, members: Callable[[Any], Any], data: st.DataObject) -> None:
    value = data.draw(values)
    found = decode(modality, json_file("x", members(value)).data, LIMITS, "x")
    assert found == value
    if isinstance(found, Metadata):
        assert list(found.values) == list(value.values)


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=7))
def test_palettes_come_back(colours: list[tuple[int, int, int]]) -> None:
    palette = np.array(colours, np.uint8)
    written = json_file("x", documents.palette_to_json(palette)).data
    np.testing.assert_array_equal(decode("palette", written, LIMITS, "x"), palette)


@pytest.mark.parametrize(("modality", "shape"), [("clip", (5, 3, 4)), ("dinov2_global", (7,))])
@pytest.mark.parametrize("dtype", ["<f4", "<f2", ">f8", "<i2"])
def test_arrays_come_back_as_float32(modality: str, shape: tuple[int, ...], dtype: str) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    found = decode(modality, npy_file("x", values).data, LIMITS, "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_text_states_come_back() -> None:
    vectors = np.random.default_rng(0).normal(size=(77, 8)).astype(np.float32)
    found = decode("t5_caption", npy_file("x", vectors).data, LIMITS, "x")
    np.testing.assert_array_equal(found.vectors, vectors)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
near_misses = st.recursive(
    st.sampled_from([0, 1, 0.5, -1, 1e400, 10**400, "dog", "", "v0=1", None, True, [0] * 4, [1] * 16]),
    lambda inner: (
        st.lists(inner, max_size=16)
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(["box", "label", "score", "point", "x", "y", "masks"], inner)
        )
    ),
    max_leaves=20,
)


@given(st.sampled_from([*DOCUMENTS, *ARRAYS]), st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_decode_error(modality: str, data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode(modality, data, LIMITS, "x")


@given(st.sampled_from(DOCUMENTS), json_values | near_misses)
def test_any_json_is_a_value_or_a_decode_error(modality: str, members: Any) -> None:
    with contextlib.suppress(DecodeError):
        decode(modality, json.dumps(members).encode(), LIMITS, "x")


@given(st.sampled_from(ARRAYS), st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_array_is_a_value_or_a_decode_error(modality: str, place: int, byte: int) -> None:
    data = bytearray(npy_file("x", np.ones((2, 3, 4), np.float32)).data)
    data[place] = byte
    with contextlib.suppress(DecodeError):
        decode(modality, bytes(data), LIMITS, "x")


def _box(**changed: Any) -> list[dict[str, Any]]:
    return [{"box": [0, 0, 1, 1], "label": "dog"} | changed]


def _points(**changed: Any) -> list[dict[str, Any]]:
    return [{"point": {"x": 1, "y": 2}, "masks": [MASK]} | changed]


@pytest.mark.parametrize(
    ("modality", "members", "said"),
    [
        ("bounding_boxes", {}, "x: must be a list, not {}"),
        ("bounding_boxes", ["dog"], "x: [0] must map names to values, not 'dog'"),
        ("bounding_boxes", [{"box": [0, 0, 1, 1]}], "x: [0].label is missing"),
        ("bounding_boxes", _box(colour=1), "x: [0] has no setting 'colour'; it has box, label, score"),
        ("bounding_boxes", _box(box=[0, 0, 1]), "x: [0].box must have at least 4 items"),
        ("bounding_boxes", _box(box=[0, 0, 1, 2]), "x: [0].box[3] must be less than or equal to 1, not 2"),
        ("bounding_boxes", _box(box=[0, 0, 1, "1"]), "x: [0].box[3] must be a valid number, not '1'"),
        ("bounding_boxes", _box(box=[0, 0, 1, True]), "x: [0].box[3] must be a valid number, not True"),
        ("bounding_boxes", _box(score=1.5), "x: [0].score must be less than or equal to 1, not 1.5"),
        ("bounding_boxes", _box(label="v0=1"), "x: 'v0=1' is not a class name"),
        ("bounding_boxes", _box(label="\ud800"), "x: [0].label must be a valid string"),
        ("bounding_boxes", _box() * (MAX_ENTRIES + 1), "x: must have at most 1000 items"),
        ("metadata", [], "x: must map names to values, not []"),
        ("metadata", {"size": 3}, "x: 'size' is not a field of metadata; the fields are original_width, "),
        ("metadata", {"brightness": None}, "x: brightness must be a valid number, not None"),
        ("human_pose", [PERSON | {"pose": [1] * 7 + [1024]}], "x: [0].pose[7] must be less than or equal to 1023"),
        ("human_pose", [PERSON | {"pose": [1.0] * 8}], "x: [0].pose[0] must be a valid integer, not 1.0"),
        ("human_pose", [PERSON | {"camera": [0] * 4}], "x: [0].camera must have at most 3 items"),
        ("human_pose", [PERSON | {"shape": [10**400] * 10}], "x: [0].shape[0] must be "),
        ("sam_instance", _points(point=[1, 2]), "x: [0].point must map names to values"),
        ("sam_instance", _points(point={"x": -1, "y": 0}), "x: [0].point.x must be greater than or equal to 0, not -1"),
        ("sam_instance", _points(masks=[MASK | {"tokens": [1]}]), "x: [0].masks[0].tokens must have at least 16 items"),
        ("sam_instance", _points(masks=[MASK] * 1001), "x: [0].masks must have at most 1000 items"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(modality: str, members: Any, said: str) -> None:
    with pytest.raises(BadDocument) as caught:
        decode(modality, json.dumps(members).encode(), LIMITS, "x")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"  ", EmptyInput, "x is empty"),
        (b"[", BadDocument, "x is not JSON"),
        (b"[NaN]", BadDocument, "x is not JSON: 'NaN is not a number that JSON allows'"),
        (b'[{"box": 1, "box": 2}]', BadDocument, "x is not JSON: 'an object has the same member twice'"),
        (b"[" * 100_000, BadDocument, "x is nested 100,000 deep; at most 100 are taken"),
        (b"[" + b"{}," * 600_000 + b"{}]", BadDocument, "x has about 1,200,002 values; at most 1,000,000 are taken"),
    ],
)
def test_what_is_not_json_is_said(data: bytes, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        decode("bounding_boxes", data, LIMITS, "x")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("modality", "array", "said"),
    [
        ("clip", np.ones((3, 4)), "x holds float64 of shape (3, 4); an array (channels, height, width) of real"),
        ("clip", np.ones((3, 0, 4)), "x holds float64 of shape (3, 0, 4)"),
        ("clip", np.full((1, 2, 2), np.nan), "x holds numbers that are infinite or NaN"),
        ("dinov2_global", np.full(3, 1e300), "x holds numbers that are infinite or NaN"),
        ("imagebind_global", np.ones(3, np.complex64), "x holds complex64"),
        ("t5_caption", np.ones((78, 2)), "x has 78 text states; at most 77 are allowed"),
    ],
)
def test_what_is_wrong_with_an_array_is_said(modality: str, array: np.ndarray[Any, Any], said: str) -> None:
    with pytest.raises(BadMap) as caught:
        decode(modality, npy_file("x", array).data, LIMITS, "x")
    assert str(caught.value).startswith(said)


def test_an_array_above_the_limit_is_refused_by_its_header() -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10, 10)})
    with pytest.raises(TooManyPixels):
        decode("clip", file.getvalue(), FileLimits(pixels=10**6), "x")
    with pytest.raises(BadMap):
        decode("clip", file.getvalue(), LIMITS, "x")


@pytest.mark.parametrize(
    "given",
    [
        [{"image_id": 1, "category_id": 1, "keypoints": [120, 80, 2] * 17, "score": 0.9}],
        {"images": [], "annotations": [{"keypoints": [120, 80, 2] * 17, "num_keypoints": 17}]},
        {"version": 1.3, "people": [{"pose_keypoints_2d": [120, 80, 0.9] * 25}]},
        {"people": []},
    ],
)
def test_key_points_are_told_from_poses(given: object) -> None:
    with pytest.raises(BadDocument, match=r"x holds key points as COCO or OpenPose write them, .* send the picture"):
        decode("human_pose", json.dumps(given).encode(), LIMITS, "x")
