"""Lines in, lines out; the searcher here records what it is asked and answers with the number of parts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anyseek import ApiError
from anyseek.api.queries.batch_file import answer_lines
from anyseek.search.answers.results import Hit, Refusal, Results
from tests.api.conftest import LIMITS, serving


class CountingSearcher:
    def __init__(self) -> None:
        self.chunks: list[list[dict[str, Any]]] = []

    def query_batch(self, collection: str, queries: Sequence[dict[str, Any]]) -> list[Results | Refusal]:
        self.chunks.append(list(queries))
        return [
            Refusal("no parts") if not query["parts"] else Results((Hit("a", 0.5, 1, "caption"),), "space")
            for query in queries
        ]


def _answers(folder: Path, *lines: str | bytes) -> tuple[list[str], CountingSearcher]:
    searcher = CountingSearcher()
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(answer_lines(raw, folder, searcher, "c", {"k": 10})), searcher


@pytest.mark.parametrize("identifier", ["a", "ü \ud83d", 7, -1.5, 2**70])
def test_an_id_comes_back(tmp_path: Path, identifier: object) -> None:
    line = {"id": identifier, "parts": [{"modality": "caption", "text": "x"}]}
    (answer,), _ = _answers(tmp_path, json.dumps(line))
    assert json.loads(answer) == {"id": identifier, "hits": [{"key": "a", "score": 0.5, "rank": 1}]}


@pytest.mark.parametrize(
    ("line", "identifier"),
    [
        ("{not json", None),
        (b'{"id": "\xff", "parts": []}', None),
        ("[" * 100_000, None),
        ("[1]", None),
        ('{"id": true, "parts": []}', None),
        ('{"id": NaN, "parts": []}', None),
        ('{"id": 1, "parts": "x"}', 1),
        ('{"id": 1, "parts": [{"modality": "rgb", "file": "gone.png"}]}', 1),
        ('{"id": 1, "parts": [{"modality": "rgb", "file": "a\\u0000b"}]}', 1),
        ('{"id": 1, "parts": [{"item": "a", "weight": 1e999}]}', None),
        (f'{{"id": {"9" * 5000}, "parts": []}}', None),
        ('{"id": 1, "parts": []}', 1),
    ],
)
def test_one_bad_line_says_why_and_stops_nothing(tmp_path: Path, line: str | bytes, identifier: int | None) -> None:
    good = '{"id": "good", "parts": [{"item": "a"}]}'
    answers, _ = _answers(tmp_path, good, line, good)
    first, bad, last = (json.loads(answer) for answer in answers)
    assert first == last == {"id": "good", "hits": [{"key": "a", "score": 0.5, "rank": 1}]}
    assert bad["id"] == identifier
    assert bad["error"]
    assert set(bad) == {"id", "error"}


def test_a_line_that_names_a_space_is_not_asked_in_those_of_the_others(tmp_path: Path) -> None:
    searcher = CountingSearcher()
    lines = [
        b'{"id": 1, "parts": [], "space": "c"}',
        b'{"id": 2, "parts": [], "spaces": ["c", "d"]}',
        b'{"id": 3, "parts": []}',
    ]
    for defaults in ({"spaces": ["a", "b"]}, {"space": "a"}):
        list(answer_lines(lines, tmp_path, searcher, "c", defaults))
        one, several, neither = searcher.chunks[-1]
        assert one == {"parts": [], "space": "c"}
        assert several == {"parts": [], "spaces": ["c", "d"]}
        assert neither == {"parts": [], **defaults}


def test_files_are_relative_to_the_batch_file(tmp_path: Path) -> None:
    (tmp_path / "ä b.png").write_bytes(b"bytes")
    _, searcher = _answers(
        tmp_path, '{"id": 1, "parts": [{"modality": "rgb", "file": "ä b.png", "weight": -0.5}], "k": 3}'
    )
    (query,) = searcher.chunks[0]
    assert query["k"] == 3
    assert query["parts"] == [
        {"modality": "rgb", "weight": -0.5, "data": "Ynl0ZXM=", "name": str(tmp_path / "ä b.png")}
    ]


def test_blank_lines_are_passed_over_and_chunks_are_bounded(tmp_path: Path) -> None:
    line = '{"id": 1, "parts": [{"item": "a"}]}'
    answers, searcher = _answers(tmp_path, *[line, "", "  \n"] * 300)
    assert len(answers) == 300
    assert [len(chunk) for chunk in searcher.chunks] == [256, 44]


def test_a_line_too_large_for_a_request_is_refused_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.api.queries.batch_file._LINE_BYTES", 1000)
    (tmp_path / "big").write_bytes(bytes(1000))
    big = '{"id": 1, "parts": [{"modality": "rgb", "file": "big"}]}'
    answers, _ = _answers(tmp_path, big, '{"id": 2, "parts": [{"item": "a"}]}')
    assert "1,000 are allowed" in json.loads(answers[0])["error"]
    assert "hits" in json.loads(answers[1])


def test_answers_come_as_soon_as_a_chunk_is_full(tmp_path: Path) -> None:
    read = 0

    def lines() -> Any:
        nonlocal read
        for _ in range(600):
            read += 1
            yield b'{"id": 1, "parts": [{"item": "a"}]}'

    next(answer_lines(lines(), tmp_path, CountingSearcher(), "c", {"k": 10}))
    assert read == 256


def test_a_chunk_that_is_too_much_for_a_request_is_asked_in_halves(tmp_path: Path) -> None:
    lines = [f'{{"id": {k}, "parts": [{{"text": "a"}}], "k": {k}}}'.encode() for k in (10, 11, 12, 26, 1)]
    with serving(tmp_path, limits=replace(LIMITS, hits_per_batch=25)) as (client, _):
        client.create_collection("c")
        client.put_item("c", "x", caption="a")
        answers = [json.loads(line) for line in answer_lines(lines, tmp_path, client, "c", {})]
    assert [answer["id"] for answer in answers] == [10, 11, 12, 26, 1]
    assert ["error" in answer for answer in answers] == [False, False, False, True, False]
    assert "at most 25 hits" in answers[3]["error"]


def test_what_concerns_all_lines_is_raised(tmp_path: Path) -> None:
    with serving(tmp_path) as (client, _), pytest.raises(ApiError, match="gone"):
        list(answer_lines([b'{"id": 1, "parts": [{"text": "a"}]}'] * 2, tmp_path, client, "gone", {}))
