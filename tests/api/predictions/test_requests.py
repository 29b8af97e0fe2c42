"""What becomes of the inputs of a prediction: with a form or a box they are read as parts of a query are."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyseek.api.contents import Upload
from anyseek.api.predictions.requests import read_request, request_from_form
from anyseek.model.modalities.reading.errors import BadInput
from anyseek.search.errors import BadQuery
from anyseek.search.settings import Limits

LIMITS = Limits()


def _png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


DEPTH = _png(np.tile(np.linspace(1_000, 60_000, 64).astype(np.uint16), (64, 1)))
HALVES = np.zeros((40, 80, 3), np.uint8)
HALVES[:, 40:] = (200, 30, 30)
PICTURE = _png(HALVES)


def _value(modality: str, data: bytes, **more: Any) -> Any:
    given = {"modality": modality, "data": base64.b64encode(data).decode(), **more}
    return read_request({"inputs": [given], "targets": ["caption"]}, LIMITS).inputs[modality]


def _of_form(modality: str, data: bytes, **fields: Any) -> Any:
    uploads = [Upload(modality, data, "a.png"), Upload("targets", "caption")]
    uploads += [Upload(name, json.dumps(value)) for name, value in fields.items()]
    return request_from_form(uploads, LIMITS).inputs[modality]


def test_a_depth_map_is_read_by_its_form() -> None:
    plain, near = _value("depth", DEPTH), _value("depth", DEPTH, form="near-bright")
    assert plain[0, 0] < plain[0, -1]
    assert near[0, 0] > near[0, -1]
    np.testing.assert_array_equal(near, _of_form("depth", DEPTH, forms={"depth": "near-bright"}))
    np.testing.assert_array_equal(plain, _of_form("depth", DEPTH))


def test_a_box_of_a_picture_is_all_that_is_predicted_from() -> None:
    right = _value("rgb", PICTURE, box=[0.5, 0, 1, 1])
    assert right.shape[1] == 40
    assert (right == (200, 30, 30)).all()
    np.testing.assert_array_equal(right, _of_form("rgb", PICTURE, box=[0.5, 0, 1, 1]))


def test_colours_of_a_segmentation_are_named_with_its_form() -> None:
    legend = {"#000000": "wall", "#c81e1e": "floor"}
    assert _value("semseg", PICTURE, form="colours", classes=legend) is not None
    assert _of_form("semseg", PICTURE, forms={"semseg": "colours"}, classes=legend) is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"modality": "depth", "form": "upside-down"}, "the forms are"),
        ({"modality": "rgb", "box": [0.5, 0, 0.5, 1]}, "empty"),
        ({"modality": "rgb", "box": [0.5, 0]}, "at least 4 items"),
    ],
)
def test_what_is_no_form_or_box_is_refused(given: dict[str, Any], said: str) -> None:
    modality = given.pop("modality")
    with pytest.raises((BadInput, BadQuery), match=said):
        _value(modality, DEPTH if modality == "depth" else PICTURE, **given)


def test_a_box_without_a_picture_is_refused() -> None:
    with pytest.raises(BadQuery, match="the form has a box, but no picture"):
        _of_form("depth", DEPTH, box=[0, 0, 1, 1])
    with pytest.raises(BadQuery, match="forms names normal, but the form has no file"):
        _of_form("depth", DEPTH, forms={"normal": "left-up-near"})
