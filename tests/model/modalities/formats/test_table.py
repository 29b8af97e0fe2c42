"""Every format through the published vocabulary: value -> text -> ids -> text -> value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.formats.table import FORMATS
from anyseek.model.tokenizers.text import TextTokenizer

PUBLISHED = Path(__file__).parents[5] / "shared/data/text_tokenizer_4m_wordpiece_30k.json"

PERSON = HumanPose(Box(0, 0, 1, 1), tuple(range(508, 516)), (-1.0,) * 9, (-1.0,) * 3, (3.0,) * 10)
MASK = MaskInstance(Box(0.0, 1.0, 222.0, 223.0), tuple(range(504, 520)))
VALUES: dict[str, Any] = {
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
    ids = [*tokenizer.encode(kind.to_text(VALUES[key])), tokenizer.end_id]
    assert tokenizer.unknown_id not in ids
    back = kind.from_text(tokenizer.decode(ids))
    if key == "color_palette":
        np.testing.assert_array_equal(back, VALUES[key])
    else:
        assert back == VALUES[key]


@pytest.mark.parametrize("key", FORMATS)
def test_nothing_is_read_from_an_empty_text(key: str) -> None:
    read: Callable[[str], Any] = FORMATS[key].from_text
    nothing = read("[S_1] [EOS]")
    assert len(nothing.values if isinstance(nothing, Metadata) else nothing) == 0
