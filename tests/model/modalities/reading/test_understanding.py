"""Forms that files may have, by modality."""

import io

import numpy as np
import pytest
from PIL import Image

from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import DecodeError, UnknownForm, UnknownModality
from anyseek.model.modalities.reading.understanding import forms_of, understand
from anyseek.model.modalities.registry import MODALITIES

LIMITS = FileLimits()
_OF_ITEMS = {"depth": "far-bright", "normal": "right-up-viewer", "semseg": "ids", "canny_edge": "clean"}


def _picture() -> bytes:
    stream, pixels = io.BytesIO(), np.full((16, 16), 10, np.uint8)
    pixels[8:] = 200
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_forms_that_are_told_are_those_that_are_taken(modality: str) -> None:
    forms = forms_of(modality)
    assert all(forms.values())
    for form in [*forms, "red"]:
        try:
            understand(modality, _picture(), LIMITS, "a.png", form=form)
            refused = False
        except DecodeError as error:  # the picture may have no such content, but the form is known
            refused = isinstance(error, UnknownForm)
        assert refused == (form not in forms), form


def test_the_first_form_is_that_of_items() -> None:
    assert {name: next(iter(forms_of(name))) for name in _OF_ITEMS} == _OF_ITEMS
    assert forms_of("sketch") == forms_of("canny_edge")
    assert forms_of("caption") == {}
    with pytest.raises(UnknownModality):
        forms_of("smell")


def test_a_form_beside_a_box_is_refused_as_without_one() -> None:
    for box in (None, (0.0, 0.0, 0.5, 0.5)):
        with pytest.raises(UnknownForm, match="a is rgb, which has one form only"):
            understand("rgb", _picture(), LIMITS, "a", form="near-bright", box=box)
