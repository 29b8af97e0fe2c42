"""Libraries that move: whole folders, single files, two folders with the same names, and sources that are forgotten."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer.errors import BadSource, SourceGone
from anyseek.indexer.indexing import ensure_collection
from anyseek.indexer.placing import PREFIX_CHARACTERS, Placement, move_source, parse_prefix, place_source
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.samples import RawFile
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import jobs, sources
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.sources import SourceBusy, SourceNotFound
from anyseek.search.errors import BadInput, JobNotRetriable
from anyseek.search.types import OnDuplicate
from tests.indexer import harness
from tests.indexer.harness import NAME, check_agreement, failures, held, numbers
from tests.indexer.pictures import png, write


def placed(context: IndexerContext, photos: Path, key_prefix: str | None = None) -> Placement:
    collection = ensure_collection(context, NAME)
    return place_source(context.database, collection, open_source(context.settings, photos), key_prefix)


def index(context: IndexerContext, photos: Path, **options: Any) -> Job:
    """As `anyseek index` does: the source is placed first."""
    placed(context, photos)
    return harness.index(context, photos, **options)


def roots(context: IndexerContext) -> dict[str, int]:
    with context.database.read() as session:
        return {source.root: source.items for source in sources.list_sources(session, ensure_collection(context, NAME))}


def locations(context: IndexerContext) -> set[str]:
    return {item.assets["rgb"].location for item in held(context).values()}


NAMES = {"a.png": 1, "b.png": 2, "sub/c.png": 3}
OTHERS = {name: seed + 10 for name, seed in NAMES.items()}


def test_a_folder_that_moved_keeps_its_items(
    context: IndexerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(tmp_path / "before", NAMES)
    index(context, before)
    items = {key: (item.id, item.revision) for key, item in held(context).items()}
    after = before.rename(tmp_path / "after")
    with monkeypatch.context() as patched:
        patched.setattr(context.embedder, "embed_gallery", lambda *_: pytest.fail("it was embedded again"))
        assert placed(context, after) == Placement("", moved_from=str(before))
        assert numbers(index(context, after, prune=True)) == (0, 3, 0, 0)
    assert {key: (item.id, item.revision) for key, item in held(context).items()} == items
    assert locations(context) == {str(after / name) for name in NAMES}
    assert roots(context) == {str(after): 3}
    third = after.rename(tmp_path / "third")
    (third / "a.png").write_bytes(png(9, width=40))
    assert numbers(index(context, third)) == (1, 2, 0, 0), "what was edited on the way is replaced"
    assert len(held(context)) == 3
    check_agreement(context)


def test_a_folder_that_moved_keeps_its_prefix(context: IndexerContext, tmp_path: Path) -> None:
    index(context, write(tmp_path / "first", NAMES))
    second = write(tmp_path / "second", OTHERS)
    index(context, second)
    third = second.rename(tmp_path / "third")
    assert placed(context, third).moved_from == str(second)
    assert numbers(index(context, third)) == (0, 3, 0, 0)
    assert {f"second/{name}" for name in NAMES} <= set(held(context))


@pytest.mark.parametrize(
    ("files", "is_there"), [pytest.param(OTHERS, False, id="other pictures"), pytest.param(NAMES, True, id="copies")]
)
def test_another_folder_with_the_same_names_gets_a_prefix(
    context: IndexerContext, tmp_path: Path, files: dict[str, int], is_there: bool
) -> None:
    """Two cameras give their pictures the same names, here even the same sizes. The card that is not in stays."""
    first = write(tmp_path / "card1", NAMES)
    index(context, first)
    if not is_there:
        shutil.rmtree(first)
    second = write(tmp_path / "card2", files)
    assert numbers(index(context, second)) == (3, 0, 0, 0)
    assert set(held(context)) == {*NAMES, *(f"card2/{name}" for name in NAMES)}
    assert roots(context) == {str(first): 3, str(second): 3}


def test_files_that_moved_are_the_same_items_at_another_place(
    context: IndexerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = write(tmp_path / "library", {**NAMES, "d.png": 4, "e.png": 5})
    index(context, library)
    monkeypatch.setattr("anyseek.indexer.source_inputs.decode_all", lambda *_: pytest.fail("it was decoded again"))
    archive = tmp_path / "archive"
    archive.mkdir()
    (library / "sub").rename(archive / "2023")
    (library / "d.png").rename(archive / "d.png")
    assert numbers(index(context, archive)) == (2, 0, 0, 0)
    assert set(held(context)) == {"a.png", "b.png", "e.png", "2023/c.png", "d.png"}
    assert roots(context) == {str(library): 3, str(archive): 2}
    assert numbers(index(context, library, prune=True)) == (0, 3, 0, 0)
    check_agreement(context)


@pytest.mark.parametrize("on_duplicate", list(OnDuplicate))
def test_a_file_renamed_in_its_folder_is_no_duplicate(
    context: IndexerContext, tmp_path: Path, on_duplicate: OnDuplicate
) -> None:
    photos = write(tmp_path / "photos", NAMES)
    index(context, photos, on_duplicate=on_duplicate)
    (photos / "a.png").rename(photos / "z.png")
    assert numbers(index(context, photos, on_duplicate=on_duplicate)) == (1, 2, 0, 0)
    assert set(held(context)) == {"b.png", "sub/c.png", "z.png"}
    if on_duplicate is OnDuplicate.LINK:
        shutil.copy(photos / "z.png", photos / "y.png")
        (photos / "z.png").rename(photos / "x.png")
        assert numbers(index(context, photos)) == (2, 2, 0, 0), "one of the two takes its place"
        assert set(held(context)) == {"b.png", "sub/c.png", "x.png", "y.png"}
    check_agreement(context)


def test_an_input_that_is_refused_takes_nobodys_place(context: IndexerContext, tmp_path: Path) -> None:
    first = write(tmp_path / "first", {"x.png": 1})
    index(context, first)
    index(context, write(tmp_path / "second", {"k.png": 2}))
    (first / "x.png").unlink()
    third = write(tmp_path / "third", {"k.png": 1})
    placed(context, third, "")
    job = harness.index(context, third)
    assert failures(context, job)["k.png"].code == "key-held-elsewhere"
    assert set(held(context)) == {"x.png", "k.png"}
    check_agreement(context)


def test_folders_of_one_name_get_those_above_too(context: IndexerContext, tmp_path: Path) -> None:
    cards = [write(tmp_path / f"card{n}" / "DCIM", {"1.png": n}) for n in range(3)]
    assert [numbers(index(context, card)) for card in cards] == [(1, 0, 0, 0)] * 3
    assert set(held(context)) == {"1.png", "DCIM/1.png", "card2/DCIM/1.png"}
    assert [numbers(index(context, card)) for card in cards] == [(0, 1, 0, 0)] * 3


def test_a_key_that_was_put_by_hand_makes_a_prefix_too(context: IndexerContext, tmp_path: Path) -> None:
    put_item(context, NAME, "a.png", [RawFile("rgb", png(50), "upload")])
    index(context, write(tmp_path / "photos", NAMES))
    assert "photos/a.png" in held(context)
    assert held(context)["a.png"].source_id is None


def test_a_prefix_is_chosen_once(context: IndexerContext, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {**NAMES, "a.json": {"key": "k" * 999}})
    assert placed(context, photos, "2024/") == Placement("2024/")
    job = index(context, photos)
    assert failures(context, job)["a.png"].code == "bad-description", "its key is too long with the prefix"
    assert set(held(context)) == {"2024/b.png", "2024/sub/c.png"}
    assert placed(context, photos, "2024/") == Placement("2024/")
    with pytest.raises(SourceBusy, match="have '2024/'"):
        placed(context, photos, "")


def test_prefixes_are_read_with_one_slash() -> None:
    assert [parse_prefix(text) for text in ("a", "a/", "/a/b//", "", "/")] == ["a/", "a/", "a/b/", "", ""]
    for wrong in ("x" * (PREFIX_CHARACTERS + 1), "a\0b", "\ud800"):
        with pytest.raises(BadInput, match="not a valid key prefix"):
            parse_prefix(wrong)


@pytest.mark.parametrize("table", ["", "t.csv"])
def test_moved_by_hand_the_items_know_the_new_place(context: IndexerContext, tmp_path: Path, table: str) -> None:
    before = write(tmp_path / "before", {**NAMES, "t.csv": "\n".join(["file", *NAMES])})
    index(context, before / table)
    after = before.rename(tmp_path / "after")
    moved = move_source(context.database, context.settings, NAME, str(before / table), str(after / table))
    assert (moved.root, moved.items) == (str(after / table), 3)
    assert locations(context) == {str(after / name) for name in NAMES}
    assert numbers(index(context, after / table)) == (0, 3, 0, 0)
    check_agreement(context)


def test_no_source_moves_by_hand_to_a_place_without_its_files_or_of_another(
    context: IndexerContext, tmp_path: Path
) -> None:
    first, second = write(tmp_path / "first", NAMES), write(tmp_path / "second", OTHERS)
    index(context, first)
    index(context, second)
    empty = write(tmp_path / "empty", {"x.png": 9})
    for source, target, error, says in (
        (first, empty, BadSource, "has no file"),
        (first, tmp_path / "nowhere", SourceGone, "gone"),
        (empty, first, SourceNotFound, "it has"),
        (first, second, SourceBusy, "already"),
    ):
        with pytest.raises(error, match=says):
            move_source(context.database, context.settings, NAME, str(source), str(target))
    assert roots(context) == {str(first): 3, str(second): 3}


def forget(context: IndexerContext, root: Path, with_items: bool) -> None:
    collection = ensure_collection(context, NAME)
    with context.database.read() as session:
        found = sources.find(session, collection, str(root))
    sources.forget(context.database, collection, found.id, with_items)


def test_items_of_a_forgotten_source_stay_until_it_is_indexed_again(context: IndexerContext, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", NAMES)
    job = index(context, photos)
    forget(context, photos, with_items=False)
    assert roots(context) == {}
    assert {item.source_id for item in held(context).values()} == {None}
    with context.database.write() as session, pytest.raises(JobNotRetriable, match="forgotten"):
        jobs.reopen(session, job.id)
    assert numbers(index(context, photos)) == (3, 0, 0, 0)
    assert set(held(context)) == set(NAMES)
    check_agreement(context)


def test_a_source_is_forgotten_with_its_items_and_not_while_a_job_is_at_work(
    context: IndexerContext, tmp_path: Path
) -> None:
    photos = write(tmp_path / "photos", NAMES)
    index(context, photos)
    index(context, write(tmp_path / "others", {"x.png": 9}))
    collection = ensure_collection(context, NAME)
    with context.database.write() as session:
        source_id = sources.ensure(session, collection, str(photos))
        job = jobs.open_index_job(session, collection, source_id, "me", False, lambda _: True)
    with pytest.raises(SourceBusy, match=f"job {job.id} is active on this source"):
        forget(context, photos, with_items=True)
    with context.database.write() as session:
        jobs.end_unfinished(session, job.id, JobState.CANCELLED, "cancelled")
    forget(context, photos, with_items=True)
    assert set(held(context)) == {"x.png"}
    assert (photos / "a.png").is_file()
    check_agreement(context)
