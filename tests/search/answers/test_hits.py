"""Notes on answers."""

from typing import Any, cast

import numpy as np
import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.answers.hits import language_note
from anyseek.search.query.query import Part, Query


class English(HashingEmbedder):
    """Reads no text with an accent."""

    def text_note(self, text: str) -> str | None:
        return None if text.isascii() else f"not read: {text}"


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        ((Part("caption", value="a dog"),), None),
        ((Part("caption", value="a dog"), Part("caption", value="été", weight=-0.5)), "not read: été"),
        ((Part("words", value="été"),), None),  # looked for as it is
        ((Part("rgb", value=np.zeros((2, 2, 3), np.uint8)),), None),
    ],
)
def test_the_first_text_that_is_not_read_gets_a_note(parts: tuple[Part, ...], note: str | None) -> None:
    assert language_note(cast(Any, English()), Query(parts)) == note
    assert language_note(HashingEmbedder(), Query(parts)) is None
