"""Every kind of prediction as files: what programs read is the value, what people look at is a picture."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.formats.spans import TextStates
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.rendering.files import PredictionFile
from anyseek.model.modalities.rendering.panels import SIDE
from anyseek.model.modalities.values import prediction_files, prediction_to_json
from anyseek.model.seam import Prediction, Regions

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)
UPRIGHT = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)
PERSON = HumanPose(Box(0.1, 0.1, 0.6, 0.9), (1,) * 8, UPRIGHT, (1.0, 0.0, 0.0), (0.0,) * 10)
POINT = QueryPoint(20, 30, (MaskInstance(Box(10, 10, 100, 120), (7,) * 16),))

VALUES: dict[Content, Any] = {
    Content.PICTURE: PICTURE,
    Content.DRAWING: RNG.integers(0, 255, (40, 60), dtype=np.uint8),
    Content.DEPTH: RNG.normal(size=(40, 60)).astype(np.float32),
    Content.NORMAL: PICTURE,
    Content.REGIONS: Regions(RNG.integers(0, 134, (40, 60), dtype=np.uint8), {1: "person", 3: "car"}),
    Content.TEXT: "a café, \N{SNOWMAN}",
    Content.PALETTE: np.array([[255, 0, 16], [1, 2, 3]], np.uint8),
    Content.BOXES: (LabelledBox(Box(0.1, 0.2, 0.5, 0.9), "traffic light"), LabelledBox(Box(1, 1, 0, 0), "dog", 0.7)),
    Content.METADATA: Metadata({"original_width": 640.0, "brightness": 101.5}),
    Content.POSES: (PERSON, PERSON),
    Content.INSTANCES: (POINT, QueryPoint(200, 220)),
    Content.FEATURES: RNG.normal(size=(8, 14, 14)).astype(np.float32),
    Content.VECTOR: RNG.normal(size=16).astype(np.float32),
    Content.TEXT_STATES: TextStates(RNG.normal(size=(3, 16)).astype(np.float32)),
}
ARRAYS: dict[Content, dict[str, Any]] = {
    Content.POSES: {"rotations": np.tile(np.eye(3, dtype=np.float32), (2, 23, 1, 1))},
    Content.INSTANCES: {"masks": np.ones((1, 64, 64), np.bool_)},
}
EMPTY: dict[Content, tuple[Any, dict[str, Any]]] = {
    Content.TEXT: ("", {}),
    Content.PALETTE: (np.zeros((0, 3), np.uint8), {}),
    Content.BOXES: ((), {}),
    Content.METADATA: (Metadata({}), {}),
    Content.POSES: ((), {"rotations": np.zeros((0, 23, 3, 3), np.float32)}),
    Content.INSTANCES: ((), {"masks": np.zeros((0, 64, 64), np.bool_)}),
}
PREDICTED = [known for known in MODALITIES.values() if known.content in VALUES]


def _files(modality: str, value: Any = None, picture: Any = PICTURE) -> dict[str, PredictionFile]:
    content = MODALITIES[modality].content
    value = VALUES[content] if value is None else value
    files = prediction_files(Prediction(modality, value, arrays=ARRAYS.get(content, {})), picture)
    return {file.name: file for file in files}


def _image(file: PredictionFile) -> Image.Image:
    return Image.open(io.BytesIO(file.data))


@pytest.mark.parametrize("modality", [known.name for known in PREDICTED])
def test_files_can_be_opened_and_the_same_value_gives_the_same_bytes(modality: str) -> None:
    files = _files(modality)
    assert all(name.startswith(f"{modality}.") for name in files)
    assert files == _files(modality)
    for name, file in files.items():
        if file.media_type == "image/png":
            assert _image(file).format == "PNG"
        elif file.media_type == "application/json":
            json.loads(file.data)
        elif file.media_type == "application/x-npy":
            np.load(io.BytesIO(file.data), allow_pickle=False)
        else:
            assert file.media_type == "text/plain; charset=utf-8"
            assert name.endswith(".txt")
        if name.endswith(".preview.png"):
            assert 100 < min(_image(file).size) <= max(_image(file).size) < 3 * SIDE


# The file of each prediction that is an input again, for the same value.
AGAIN = """
rgb.png canny_edge.png normal.png depth.npy caption.txt color_palette.json bounding_boxes.json human_pose.json
sam_instance.json metadata.json clip.npy dinov2_global.npy
"""


@pytest.mark.parametrize("name", AGAIN.split())
def test_what_is_predicted_can_be_given_again(name: str) -> None:
    modality = name.partition(".")[0]
    value = VALUES[MODALITIES[modality].content]
    found = decode(modality, _files(modality)[name].data, FileLimits(), "x")
    assert np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value


def test_regions_and_their_names_can_be_given_again() -> None:
    files = _files("semseg")
    classes = {int(number): name for number, name in json.loads(files["semseg.classes.json"].data).items()}
    found = decode("semseg", files["semseg.png"].data, FileLimits(), "x", classes)
    np.testing.assert_array_equal(found.ids, VALUES[Content.REGIONS].ids)
    assert found.classes == {1: "person", 3: "car"}


def test_depth_keeps_its_order_in_16_bits() -> None:
    image = _image(_files("depth")["depth.png"])
    assert image.mode.startswith("I;16")
    levels, depth = np.asarray(image).astype(int), VALUES[Content.DEPTH]
    order = np.argsort(depth.ravel())
    assert (np.diff(levels.ravel()[order]) >= 0).all()
    assert (levels.min(), levels.max()) == (1, 65535)


@pytest.mark.parametrize("content", EMPTY)
def test_nothing_found_has_files_too(content: Content) -> None:
    (modality,) = [known.name for known in PREDICTED if known.content is content]
    value, arrays = EMPTY[content]
    for picture in (PICTURE, None):
        assert prediction_files(Prediction(modality, value, arrays=arrays), picture)


def test_boxes_poses_and_instances_are_drawn_on_the_picture() -> None:
    plain = np.asarray(_image(_files("bounding_boxes", value=())["bounding_boxes.preview.png"]))
    for modality in ("bounding_boxes", "human_pose", "sam_instance"):
        shown = np.asarray(_image(_files(modality)[f"{modality}.preview.png"]))
        assert shown.shape == (SIDE, SIDE, 3)
        changed = (shown != plain).any(axis=2).mean()
        assert 0.01 < changed < 0.6
        assert not (np.asarray(_image(_files(modality, picture=None)[f"{modality}.preview.png"])) == shown).all()


def test_poses_without_rotations_show_where_the_body_points() -> None:
    files = prediction_files(Prediction("human_pose", (PERSON,)), None)
    assert [file.name for file in files] == ["human_pose.json", "human_pose.preview.png"]
    assert files[1] != prediction_files(Prediction("human_pose", ()), None)[1]


def test_masks_are_the_size_of_the_picture_that_the_model_saw() -> None:
    masks = np.load(io.BytesIO(_files("sam_instance")["sam_instance.masks.npy"].data))
    assert masks.shape == (1, 224, 224)
    assert masks.sum() == 90 * 110


def test_values_are_json_where_they_are_texts_or_numbers() -> None:
    members = {known.name: prediction_to_json(Prediction(known.name, VALUES[known.content])) for known in PREDICTED}
    assert members["caption"] == "a café, \N{SNOWMAN}"
    assert members["color_palette"] == ["#ff0010", "#010203"]
    assert members["metadata"] == {"original_width": 640.0, "brightness": 101.5}
    assert members["bounding_boxes"][0] == {"box": [0.1, 0.2, 0.5, 0.9], "label": "traffic light", "score": 1.0}
    assert members["human_pose"][1]["rotation"] == list(UPRIGHT)
    assert members["sam_instance"][1] == {"point": {"x": 220, "y": 200}, "masks": []}
    assert len(members["visual_global"]) == 16
    assert [name for name, found in members.items() if found is None] == [
        known.name
        for known in PREDICTED
        if known.content.value in ("picture", "drawing", "depth", "normal", "regions", "features", "text_states")
    ]
