"""Libraries that move: whole folders, single files, two folders with the same names, and sources that are forgotten."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer.errors import BadSource, SourceGone
from anyseek.indexer.indexing import open_collection
from anyseek.indexer.placing import PREFIX_CHARACTERS, Placement, move_source, place, read_prefix
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import RawFile
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import jobs, sources
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.sources import SourceHeld, SourceNotFound
from anyseek.search.errors import BadInput, JobNotRetriable
from anyseek.search.types import OnDuplicate
from tests.indexer import harness
from tests.indexer.harness import NAME, check_agreement, failures, held, numbers
from tests.indexer.pictures import png


def folder(path: Path, files: Mapping[str, int]) -> Path:
    for name, number in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(png(number))
    return path


def placed(tools: Tools, photos: Path, key_prefix: str | None = None) -> Placement:
    collection = open_collection(tools, NAME)
    return place(tools.database, collection, open_source(tools.settings, photos), key_prefix)


def index(tools: Tools, photos: Path, **options: Any) -> Job:
    """As `anyseek index` does: the source is placed first."""
    placed(tools, photos)
    return harness.index(tools, photos, **options)


def roots(tools: Tools) -> dict[str, int]:
    with tools.database.read() as session:
        return {source.root: source.items for source in sources.list_of(session, open_collection(tools, NAME))}


def locations(tools: Tools) -> set[str]:
    return {item.assets["rgb"].location for item in held(tools).values()}


def fail_if_embedded(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.embedder, "embed_gallery", lambda *_: pytest.fail("it was embedded again"))


NAMES = {"a.png": 1, "b.png": 2, "sub/c.png": 3}


def test_a_folder_that_moved_keeps_its_items(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder(tmp_path / "before", NAMES)
    index(tools, before)
    items = {key: (item.id, item.revision) for key, item in held(tools).items()}
    fail_if_embedded(tools, monkeypatch)
    after = before.rename(tmp_path / "after")
    assert placed(tools, after) == Placement("", moved_from=str(before))
    assert numbers(index(tools, after, prune=True)) == (0, 3, 0, 0)
    assert {key: (item.id, item.revision) for key, item in held(tools).items()} == items
    assert locations(tools) == {str(after / name) for name in NAMES}
    assert roots(tools) == {str(after): 3}
    check_agreement(tools)


def test_what_was_edited_on_the_way_is_replaced(tools: Tools, tmp_path: Path) -> None:
    before = folder(tmp_path / "before", NAMES)
    index(tools, before)
    after = before.rename(tmp_path / "after")
    (after / "a.png").write_bytes(png(9, width=40))
    assert numbers(index(tools, after)) == (1, 2, 0, 0)
    assert len(held(tools)) == 3
    check_agreement(tools)


def test_a_folder_that_moved_keeps_its_prefix(tools: Tools, tmp_path: Path) -> None:
    index(tools, folder(tmp_path / "first", NAMES))
    second = folder(tmp_path / "second", {name: number + 10 for name, number in NAMES.items()})
    index(tools, second)
    third = second.rename(tmp_path / "third")
    assert placed(tools, third).moved_from == str(second)
    assert numbers(index(tools, third)) == (0, 3, 0, 0)
    assert {f"second/{name}" for name in NAMES} <= set(held(tools))


def test_another_folder_with_the_same_names_has_not_moved(tools: Tools, tmp_path: Path) -> None:
    """Two cameras give their pictures the same names, here even the same sizes. The card that is not in stays."""
    first = folder(tmp_path / "card1", NAMES)
    index(tools, first)
    shutil.rmtree(first)
    second = folder(tmp_path / "card2", {name: number + 10 for name, number in NAMES.items()})
    assert numbers(index(tools, second)) == (3, 0, 0, 0)
    assert set(held(tools)) == {*NAMES, *(f"card2/{name}" for name in NAMES)}
    assert roots(tools) == {str(first): 3, str(second): 3}


def test_files_that_moved_are_the_same_items_at_another_place(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = folder(tmp_path / "library", {**NAMES, "d.png": 4, "e.png": 5})
    index(tools, library)
    fail_if_embedded(tools, monkeypatch)
    monkeypatch.setattr("anyseek.indexer.source_inputs.decode_all", lambda *_: pytest.fail("it was decoded again"))
    archive = tmp_path / "archive"
    archive.mkdir()
    (library / "sub").rename(archive / "2023")
    (library / "d.png").rename(archive / "d.png")
    assert numbers(index(tools, archive)) == (2, 0, 0, 0)
    assert set(held(tools)) == {"a.png", "b.png", "e.png", "2023/c.png", "d.png"}
    assert roots(tools) == {str(library): 3, str(archive): 2}
    assert numbers(index(tools, library, prune=True)) == (0, 3, 0, 0)
    check_agreement(tools)


@pytest.mark.parametrize("on_duplicate", list(OnDuplicate))
def test_a_file_renamed_in_its_folder_is_no_duplicate(tools: Tools, tmp_path: Path, on_duplicate: OnDuplicate) -> None:
    photos = folder(tmp_path / "photos", NAMES)
    index(tools, photos, on_duplicate=on_duplicate)
    (photos / "a.png").rename(photos / "z.png")
    assert numbers(index(tools, photos, on_duplicate=on_duplicate)) == (1, 2, 0, 0)
    assert set(held(tools)) == {"b.png", "sub/c.png", "z.png"}
    check_agreement(tools)


def test_one_of_two_copies_of_a_file_that_moved_takes_its_place(tools: Tools, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", NAMES)
    index(tools, photos)
    shutil.copy(photos / "a.png", photos / "y.png")
    (photos / "a.png").rename(photos / "z.png")
    assert numbers(index(tools, photos)) == (2, 2, 0, 0)
    assert set(held(tools)) == {"b.png", "sub/c.png", "y.png", "z.png"}


def test_an_input_that_is_refused_takes_nobodys_place(tools: Tools, tmp_path: Path) -> None:
    first, second = folder(tmp_path / "first", {"x.png": 1}), folder(tmp_path / "second", {"k.png": 2})
    index(tools, first)
    index(tools, second)
    (first / "x.png").unlink()
    third = folder(tmp_path / "third", {"k.png": 1})
    placed(tools, third, "")
    job = harness.index(tools, third)
    assert failures(tools, job)["k.png"].code == "key-held-elsewhere"
    assert set(held(tools)) == {"x.png", "k.png"}
    check_agreement(tools)


def test_copies_stay_what_they_were(tools: Tools, tmp_path: Path) -> None:
    """Both folders are there: nothing has moved."""
    index(tools, folder(tmp_path / "first", NAMES))
    assert numbers(index(tools, folder(tmp_path / "second", NAMES))) == (3, 0, 0, 0)
    assert set(held(tools)) == {*NAMES, *(f"second/{name}" for name in NAMES)}
    index(tools, folder(tmp_path / "third", NAMES), on_duplicate=OnDuplicate.SKIP)
    assert len(held(tools)) == 6


def test_folders_of_one_name_get_those_above_too(tools: Tools, tmp_path: Path) -> None:
    cards = [folder(tmp_path / f"card{n}" / "DCIM", {"1.png": n}) for n in range(3)]
    for card in cards:
        assert numbers(index(tools, card)) == (1, 0, 0, 0)
    assert set(held(tools)) == {"1.png", "DCIM/1.png", "card2/DCIM/1.png"}
    assert [numbers(index(tools, card)) for card in cards] == [(0, 1, 0, 0)] * 3


def test_a_key_that_was_put_by_hand_makes_a_prefix_too(tools: Tools, tmp_path: Path) -> None:
    open_collection(tools, NAME)
    put_item(tools, NAME, "a.png", [RawFile("rgb", png(50), "upload")])
    index(tools, folder(tmp_path / "photos", NAMES))
    assert "photos/a.png" in held(tools)
    assert held(tools)["a.png"].source_id is None


def test_a_prefix_is_chosen_once(tools: Tools, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", NAMES)
    assert placed(tools, photos, "2024/") == Placement("2024/")
    index(tools, photos)
    assert set(held(tools)) == {f"2024/{name}" for name in NAMES}
    assert placed(tools, photos, "2024/") == Placement("2024/")
    with pytest.raises(SourceHeld, match="have '2024/'"):
        placed(tools, photos, "")


def test_prefixes_are_read_with_one_slash() -> None:
    assert [read_prefix(text) for text in ("a", "a/", "/a/b//", "", "/")] == ["a/", "a/", "a/b/", "", ""]
    for wrong in ("x" * (PREFIX_CHARACTERS + 1), "a\0b", "\ud800"):
        with pytest.raises(BadInput, match="cannot be a prefix"):
            read_prefix(wrong)


def test_a_key_that_is_too_long_with_its_prefix_is_quarantined(tools: Tools, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", {"a.png": 1, "b.png": 2})
    (photos / "a.json").write_text('{"key": "%s"}' % ("k" * 990))
    placed(tools, photos, "twelve-signs/")
    job = harness.index(tools, photos)
    assert numbers(job) == (1, 0, 1, 0)
    assert failures(tools, job)["a.png"].code == "bad-description"


class TestMovingByHand:
    def test_the_items_know_the_new_place(self, tools: Tools, tmp_path: Path) -> None:
        before = folder(tmp_path / "before", NAMES)
        index(tools, before)
        after = before.rename(tmp_path / "after")
        moved = move_source(tools.database, tools.settings, NAME, str(before), str(after))
        assert (moved.root, moved.items) == (str(after), 3)
        assert locations(tools) == {str(after / name) for name in NAMES}
        assert numbers(index(tools, after)) == (0, 3, 0, 0)
        check_agreement(tools)

    def test_a_table_moves_with_its_folder(self, tools: Tools, tmp_path: Path) -> None:
        before = folder(tmp_path / "before", NAMES)
        (before / "t.csv").write_text("file\n" + "".join(f"{name}\n" for name in NAMES))
        index(tools, before / "t.csv")
        after = before.rename(tmp_path / "after")
        move_source(tools.database, tools.settings, NAME, str(before / "t.csv"), str(after / "t.csv"))
        assert locations(tools) == {str(after / name) for name in NAMES}
        assert numbers(index(tools, after / "t.csv")) == (0, 3, 0, 0)

    def test_a_place_without_its_files_is_refused(self, tools: Tools, tmp_path: Path) -> None:
        before = folder(tmp_path / "before", NAMES)
        index(tools, before)
        other = folder(tmp_path / "other", {"x.png": 9})
        with pytest.raises(BadSource, match="has no file"):
            move_source(tools.database, tools.settings, NAME, str(before), str(other))
        with pytest.raises(SourceGone):
            move_source(tools.database, tools.settings, NAME, str(before), str(tmp_path / "nowhere"))
        with pytest.raises(SourceNotFound, match="it has"):
            move_source(tools.database, tools.settings, NAME, str(other), str(before))
        assert roots(tools) == {str(before): 3}

    def test_a_place_that_is_a_source_is_refused(self, tools: Tools, tmp_path: Path) -> None:
        first, second = folder(tmp_path / "first", NAMES), folder(tmp_path / "second", NAMES)
        index(tools, first)
        index(tools, second)
        with pytest.raises(SourceHeld, match="already"):
            move_source(tools.database, tools.settings, NAME, str(first), str(second))


class TestForgetting:
    def forget(self, tools: Tools, root: Path, with_items: bool) -> None:
        collection = open_collection(tools, NAME)
        with tools.database.read() as session:
            found = sources.find(session, collection, str(root))
        sources.forget(tools.database, collection, found.id, with_items)

    def test_its_items_stay_until_the_folder_is_indexed_again(self, tools: Tools, tmp_path: Path) -> None:
        photos = folder(tmp_path / "photos", NAMES)
        job = index(tools, photos)
        self.forget(tools, photos, with_items=False)
        assert roots(tools) == {}
        assert {item.source_id for item in held(tools).values()} == {None}
        with tools.database.write() as session, pytest.raises(JobNotRetriable, match="forgotten"):
            jobs.reopen(session, job.id)
        assert numbers(index(tools, photos)) == (3, 0, 0, 0)
        assert set(held(tools)) == set(NAMES)
        check_agreement(tools)

    def test_its_items_go_with_it(self, tools: Tools, tmp_path: Path) -> None:
        photos, others = folder(tmp_path / "photos", NAMES), folder(tmp_path / "others", {"x.png": 9})
        index(tools, photos)
        index(tools, others)
        self.forget(tools, photos, with_items=True)
        assert set(held(tools)) == {"x.png"}
        assert (photos / "a.png").is_file()
        check_agreement(tools)

    def test_not_while_a_job_is_at_work(self, tools: Tools, tmp_path: Path) -> None:
        photos = folder(tmp_path / "photos", NAMES)
        index(tools, photos)
        collection = open_collection(tools, NAME)
        with tools.database.write() as session:
            source_id = sources.ensure(session, collection, str(photos))
            jobs.open_index_job(session, collection, source_id, "me", False, lambda _: True)
        with pytest.raises(SourceHeld, match="job 2 is at work"):
            self.forget(tools, photos, with_items=True)
        assert set(held(tools)) == set(NAMES)
