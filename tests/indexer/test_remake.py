"""What `anyseek rebuild` mends with the originals at hand."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete

from anyseek.indexer.indexing import open_collection
from anyseek.indexer.put import put_item, remake
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import RawFile
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.types import Item
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import verify
from tests.indexer.harness import NAME, check_agreement, given, held, index, installation
from tests.indexer.pictures import png


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        folder = tmp_path / "photos"
        folder.mkdir()
        for seed in range(3):
            (folder / f"{seed}.png").write_bytes(png(seed))
        index(tools, folder)
        put_item(tools, NAME, "put", [RawFile("rgb", png(7), "upload.png")], "a caption", {"n": 1})
        yield tools


def mend(tools: Tools) -> list[str]:
    return rebuild(tools.database, tools.settings, NAME, partial(remake, lambda: tools))


def lose_vectors(tools: Tools, items: Sequence[Item]) -> None:
    with tools.database.write() as session:
        session.execute(delete(LogRow).where(LogRow.item_id.in_([item.id for item in items])))


def test_lost_vectors_and_thumbnails_come_back_from_the_originals(tools: Tools) -> None:
    before = held(tools)
    lose_vectors(tools, [before["1.png"], before["put"]])
    tools.assets.path(before["2.png"].assets["thumbnail"]).unlink()
    assert verify(tools.database, tools.settings)
    assert mend(tools) == []
    check_agreement(tools)
    after = held(tools)
    assert after.keys() == before.keys()
    assert (after["put"].caption, given(after["put"])) == ("a caption", {"n": 1})


def test_an_item_whose_original_is_gone_too_is_named(tools: Tools, tmp_path: Path) -> None:
    before = held(tools)
    lose_vectors(tools, [before["0.png"], before["1.png"]])
    (tmp_path / "photos" / "0.png").unlink()
    assert mend(tools) == ["0.png"]


def test_nothing_lost_loads_no_model(tools: Tools) -> None:
    def refuse() -> Tools:
        raise AssertionError("the model was loaded")

    open_collection(tools, NAME)
    assert rebuild(tools.database, tools.settings, NAME, partial(remake, refuse)) == []
