import json
from typing import Any

import numpy as np
import pytest
from fastapi.exceptions import RequestValidationError

from anyseek.api.contents import QUERY, Upload, decode_query
from anyseek.api.queries.routes import query_of_form
from anyseek.search.errors import BadInput, BadQuery
from anyseek.search.types import Query
from tests.api.queries.query_inputs import EMBEDDER, LIMITS, no_pictures, png

WORDS = {"text": "a"}


def form(parts: Any, *files: Upload, **more: Any) -> Query:
    written = Upload("query", json.dumps({"parts": parts, **more}))
    return query_of_form([written, *files], QUERY, LIMITS)


def test_a_form_is_a_query_with_the_files_of_its_parts() -> None:
    parts = [
        {"modality": "rgb", "file": "a", "weight": -0.5, "box": [0, 0, 0.5, 1]},
        {"modality": "caption", "file": "said"},
        {"modality": "depth", "file": "d", "form": "near-bright", "name": "the room"},
        {"item": "x/y"},
    ]
    files = Upload("a", png(), "red.png"), Upload("said", "dog"), Upload("d", b"x", "d.png")
    query = form(parts, *files, k=3, space="s")
    assert (query.k, query.space) == (3, "s")
    assert [(part.file, part.data, part.name) for part in query.parts] == [
        (None, png(), "red.png"),
        (None, b"dog", None),
        (None, b"x", "the room"),
        (None, None, None),
    ]
    picture, words = decode_query(form(parts[:2], *files[:2]), LIMITS, EMBEDDER, no_pictures).parts
    assert (np.shape(picture.value), picture.weight, words.value) == ((6, 4, 3), -0.5, "dog")


@pytest.mark.parametrize(
    ("uploads", "error", "says"),
    [
        ([], BadInput, "needs a field query"),
        ([Upload("caption", "a")], BadInput, "needs a field query"),
        ([Upload("query", b"{}")], BadInput, "needs a field query"),
        ([Upload("query", "{")], BadInput, "the field query is not JSON"),
        ([Upload("query", '{"parts": [{"text": "\\ud800"}]}')], BadInput, "not Unicode"),
        (
            [Upload("query", '{"parts": [{"file": "a"}]}')],
            BadQuery,
            "file 'a', but the form has no such field",
        ),
        ([Upload("query", '{"parts": [{"text": "a"}]}'), Upload("a", b"x")], BadQuery, "no part of its query names"),
        ([Upload("query", "{}"), Upload("a", b"x"), Upload("a", b"x")], BadInput, "a field twice"),
        ([Upload("query", '{"parts": [{"file": "a", "text": "a"}]}'), Upload("a", b"x")], BadQuery, "text and file"),
    ],
)
def test_a_wrong_form_is_refused(uploads: list[Upload], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        query_of_form(uploads, QUERY, LIMITS)


def test_its_query_is_checked_as_json_is() -> None:
    with pytest.raises(RequestValidationError) as refused:
        form([WORDS], wher="a = 1")
    assert "did you mean `where`" in str(refused.value.errors())


def test_a_file_may_be_named_by_several_parts() -> None:
    both = form([{"modality": "depth", "file": "d"}, {"modality": "rgb", "file": "d"}], Upload("d", png()))
    assert both.parts[0].data == both.parts[1].data == png()
