"""What nobody would say of a collection's items is told from what somebody might, with the bundled model."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyseek.indexer.runs import Tools
from anyseek.indexer.tuning import reset
from anyseek.model.errors import WeightsMissing
from anyseek.model.galleries.demo import FOLDER, read_views
from anyseek.model.loading import load_embedder
from anyseek.search.notes import NOTHING
from anyseek.search.types import Part, Query, Results
from tests.indexer.harness import NAME, Counting, index, installation

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
STRANGE = ("a person smiling", "a slice of pizza", "a tiger", "a horse in a field", "a soldier", "a snowy village")

pytestmark = pytest.mark.slow


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Tools]:
    """The demo's rooms with their captions, just indexed."""
    try:
        embedder = load_embedder("4m-tiny", HOME)
    except WeightsMissing as error:
        pytest.skip(str(error))
    folder = tmp_path / "rooms"
    folder.mkdir()
    lines = []
    for view in read_views():
        picture = Path(shutil.copy(FOLDER / view["file"], folder))
        lines.append(json.dumps({"file": picture.name, "caption": view["caption"]}))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with installation(tmp_path / "home", embedder) as tools:
        progress = Counting()
        assert index(tools, folder, progress=progress).counts.indexed == len(lines)
        assert progress.calibrated_on == 20
        yield tools


def ask(tools: Tools, words: str) -> Results:
    return tools.engine.query(NAME, Query((Part("caption", words),), k=10))


def finds_nothing_good(tools: Tools, words: str) -> bool:
    return (ask(tools, words).note or "").startswith(NOTHING)


def test_words_that_no_room_is_described_with_find_nothing_good(rooms: Tools) -> None:
    assert [words for words in STRANGE if not finds_nothing_good(rooms, words)] == []
    captions = [view["caption"] for view in read_views()[::9]]
    for words in ("a bed", "a desk", "a red armchair", "a kitchen", "an orange dog", *captions):
        assert not finds_nothing_good(rooms, words), words
    sure = [ask(rooms, words).hits[0] for words in captions]
    assert sum((hit.probability or 0) > 0.6 for hit in sure) > 5
    reset(rooms.database, NAME)
    assert not finds_nothing_good(rooms, "a person smiling"), "what ships does not know how uniform rooms are"
