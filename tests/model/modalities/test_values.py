"""Values that are not what their modality holds are refused in one sentence."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.values import CONTENTS, check_value
from anyseek.model.seam import Regions
from tests.model.fourm.published.values import VALUES


def test_every_content_has_one_record() -> None:
    assert list(CONTENTS) == list(Content)


@pytest.mark.parametrize(
    "module",
    ["anyseek.model.modalities.values", "anyseek.model.modalities.reading.decode", "anyseek.model.data.contents"],
)
def test_no_record_needs_torch_to_be_imported(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_right_values_pass() -> None:
    for name, value in VALUES.items():
        check_value(MODALITIES[name], value)
    assert {MODALITIES[name].content for name in VALUES} == set(Content)


# two contents that the same array may stand for: a wide palette looks like a very small drawing
ALIKE = {(Content.PICTURE, Content.NORMAL), (Content.NORMAL, Content.PICTURE), (Content.DRAWING, Content.PALETTE)}


@pytest.mark.parametrize("name", VALUES)
def test_values_of_other_contents_are_refused(name: str) -> None:
    wanted = MODALITIES[name].content
    contents = {other: MODALITIES[other].content for other in VALUES}
    for other, content in contents.items():
        if content is wanted or (wanted, content) in ALIKE:
            continue
        with pytest.raises(FormatInvalid, match=f"^{name} is .*, not ") as refusal:
            check_value(MODALITIES[name], VALUES[other])
        assert refusal.value.code == "format-invalid"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rgb", np.zeros((3, 4, 4), np.uint8), r"uint8 array \(height, width, 3\), not uint8 of shape \(3, 4, 4\)"),
        ("rgb", np.zeros((4, 4, 3), np.float32), "not float32"),
        ("rgb", np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        ("canny_edge", np.zeros((4, 4, 3), np.uint8), r"\(height, width\)"),
        ("depth", np.full((4, 4), np.nan, np.float32), "with numbers that are not finite"),
        ("depth", np.zeros((4, 4), np.float64), "not float64"),
        ("semseg", Regions(np.zeros((4, 4), np.float32)), "Regions of float32"),
        ("caption", "  ", "at least one character"),
        ("color_palette", np.zeros((8, 3), np.uint8), "1 to 7 colours"),
        ("dinov2_global", np.array([np.inf], np.float32), "finite"),
        ("bounding_boxes", [], "a tuple of LabelledBox, not a list"),
        ("sam_instance", (1,), "not a tuple"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(FormatInvalid, match=words):
        check_value(MODALITIES[name], value)
