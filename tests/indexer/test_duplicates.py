"""The same content under several keys: linked, skipped or refused, within a job and across jobs."""

from pathlib import Path

from anyseek.indexer.put import put_item
from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.samples import RawFile
from anyseek.search.catalogue import collections, ledger, log
from anyseek.search.types import OnDuplicate
from tests.indexer.harness import NAME, check_agreement, failures, given, held, index, numbers
from tests.indexer.pictures import png, write

COPIES = {"a.png": 1, "b.png": 1, "c.png": 2, "d.png": 1, "d.json": {"caption": "other words"}}


def vectors(context: IndexerContext) -> dict[str, bytes]:
    keys = {item.id: key for key, item in held(context).items()}
    with context.database.read() as session:
        collection = collections.get(session, NAME)
        (space,) = collection.spaces.values()
        pages = list(log.latest_vectors(session, collection.id, space.id))
    return {keys[one]: data for page in pages for one, data in zip(page.ids, page.data, strict=True)}


def test_links_share_vectors_and_files(context: IndexerContext, tmp_path: Path) -> None:
    assert numbers(index(context, write(tmp_path / "p", COPIES))) == (4, 0, 0, 0)
    assert context.embedder.embedded == 3
    assert vectors(context)["a.png"] == vectors(context)["b.png"] != vectors(context)["c.png"]
    items = held(context)
    assert items["a.png"].assets["thumbnail"] == items["b.png"].assets["thumbnail"]
    assert numbers(index(context, write(tmp_path / "q", {"e.png": 2, "f.png": 3}))) == (2, 0, 0, 0)
    assert context.embedder.embedded == 4
    assert vectors(context)["e.png"] == vectors(context)["c.png"]
    write(tmp_path / "p", {"a.json": {"attributes": {"year": 1987}}})
    assert numbers(index(context, tmp_path / "p")) == (1, 3, 0, 0)
    assert context.embedder.embedded == 4, "new attributes do not run the model again"
    assert given(held(context)["a.png"]) == {"year": 1987}
    check_agreement(context)


def test_skipped_ones_are_recorded_with_the_key_they_equal(context: IndexerContext, tmp_path: Path) -> None:
    job = index(context, write(tmp_path / "p", COPIES), on_duplicate=OnDuplicate.SKIP)
    assert (numbers(job), job.counts.skipped, job.counts.settled) == ((3, 0, 0, 0), 1, 4)
    with context.database.read() as session:
        (left_out,) = ledger.list_skipped(session, job.id)
    assert (left_out.uri, left_out.reason) == ("b.png", "b.png has the same content as 'a.png'")
    job = index(context, write(tmp_path / "q", {"e.png": 2}), on_duplicate=OnDuplicate.SKIP)
    assert (numbers(job), job.counts.skipped) == ((0, 0, 0, 0), 1)
    job = index(context, tmp_path / "p", on_duplicate=OnDuplicate.SKIP)
    assert (numbers(job), job.counts.skipped) == ((0, 3, 0, 0), 1)
    assert set(held(context)) == {"a.png", "c.png", "d.png"}
    check_agreement(context)


def test_refused_ones_are_quarantined(context: IndexerContext, tmp_path: Path) -> None:
    put_item(context, NAME, "by hand", [RawFile("rgb", png(2), "upload")])
    job = index(context, write(tmp_path / "p", COPIES), on_duplicate=OnDuplicate.ERROR)
    assert numbers(job) == (2, 0, 2, 0)
    told = failures(context, job)
    assert {uri: one.code for uri, one in told.items()} == {"b.png": "duplicate-content", "c.png": "duplicate-content"}
    assert "'by hand'" in told["c.png"].reason


def test_what_is_held_already_stays(context: IndexerContext, tmp_path: Path) -> None:
    """Copies that were linked before are not taken out by a job that would have skipped them."""
    photos = write(tmp_path / "p", COPIES)
    index(context, photos)
    write(photos, {"b.json": {"attributes": {"n": 1}}})
    job = index(context, photos, on_duplicate=OnDuplicate.SKIP)
    assert (numbers(job), job.counts.skipped) == ((1, 3, 0, 0), 0)
    assert given(held(context)["b.png"]) == {"n": 1}
