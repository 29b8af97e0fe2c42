"""Checks that catalogue, log, index, stored files and originals agree, even while a service runs."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from anyseek.search.assets.base import AssetStore, ordered_ahead
from anyseek.search.assets.opening import open_assets
from anyseek.search.catalogue import checks, collections, items, log, reembedding, sources
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.derived_tables import FACETS, WORDS
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import CHUNK
from anyseek.search.errors import AnyseekError, AssetNotFound, CollectionNotFound
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, LiveSpace, View, centre, open_backend
from anyseek.search.types import Asset, Item

logger = logging.getLogger(__name__)

# Vectors are centred on the same numbers each time, except for the last bit of a sum.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Problem:
    """An inconsistency: `what` is its message, `collection` is empty if it is unknown."""

    collection: str
    what: str


def verify(database: Database, settings: Settings) -> list[Problem]:
    """All problems of the installation. Log entries newer than the last snapshot are not a problem.

    Damage that makes a check fail is a problem too, and the other checks go on.
    """
    database_checks = (checks.database_faults, checks.orphans, _words_index_faults)
    problems = [problem for check in database_checks for problem in _run_check("", database, check)]
    names: list[str] = []
    problems += _run_check("", database, lambda session: names.extend(_collection_names(session)))
    with closing(open_backend(database, settings)) as backend:
        for name in names:
            with suppress(CollectionNotFound):  # it has been deleted in the meantime
                problems += list(_problems(database, settings, name, backend))
    return problems


def _collection_names(session: Session) -> list[str]:
    return [collection.name for collection in collections.list_all(session)]


def known_conditions(database: Database) -> list[Problem]:
    """Known conditions that are not problems; those that damage hides are left out, as `verify` reports the damage."""
    conditions: list[Problem] = []
    for find in (rows_without_checksum, items_left_out):
        try:
            conditions += find(database)
        except Exception:
            logger.debug("notes cannot be read", exc_info=True)
    return conditions


def rows_without_checksum(database: Database) -> list[Problem]:
    """Rows without checksums, from an older version: damage of them cannot be detected. Known, and not a problem."""
    with database.read() as session:
        return [
            Problem(head.name, f"{count} rows have no checksum yet; anyseek rebuild {head.name} writes them")
            for head in _heads(session)
            if (count := checks.count_without_checksum(session, head))
        ]


def items_left_out(database: Database) -> list[Problem]:
    """Items that queries do not find since the last switch of models. Known, and not a problem."""
    with database.read() as session:
        return [
            Problem(head.name, f"the item {key!r} was left out of the switch to the model {head.model}: {why}")
            for head in _heads(session)
            if (refused := reembedding.left_out(session, head.id))
            for key, why in sorted(refused.items())
            if any(checks.lacks_vector(session, head, space, key) for space in head.spaces)
        ]


def _heads(session: Session) -> list[Head]:
    return [collections.head(session, name) for name in _collection_names(session)]


def _run_check(collection: str, database: Database, check: Callable[[Session], Iterable[str] | None]) -> list[Problem]:
    """The problems that a check of the database finds, in a transaction of its own."""

    def run() -> list[str]:
        with database.read() as session:
            return list(check(session) or ())

    return _run_guarded(collection, "the database", run)


def _run_guarded(collection: str, what: str, check: Callable[[], Iterable[str]]) -> list[Problem]:
    """The problems that a check finds; an exception of the check becomes one more."""
    problems: list[Problem] = []
    try:
        for message in check():
            problems.append(Problem(collection, message))
    except CollectionNotFound:
        raise
    except Exception as error:
        logger.debug("a check failed", exc_info=True)
        problems.append(Problem(collection, f"{what} cannot be read: {error}"))
    return problems


def _problems(database: Database, settings: Settings, name: str, backend: Backend) -> Iterator[Problem]:
    heads: list[Head] = []
    yield from _run_check(name, database, lambda session: heads.append(collections.head(session, name)))
    for head in heads:
        for check in (_log_faults, _entry_faults, _item_faults, _vector_faults, _derived_faults):
            yield from _run_check(name, database, partial(_check_current_head, check, name))
        for space in head.spaces:
            where = f"the index of space {space.name!r}"
            yield from _run_guarded(name, where, partial(_space_faults, database, head, space, backend))
        yield from _run_guarded(name, "a stored file", partial(_asset_faults, database, settings, name))


def _check_current_head(check: Callable[[Session, Head], Iterable[str]], name: str, session: Session) -> Iterable[str]:
    """Run a check on the head as of its own transaction, since the log may have been compacted meanwhile."""
    return check(session, collections.head(session, name))


def _log_faults(session: Session, head: Head) -> Iterator[str]:
    if missing := checks.missing_seqs(session, head):
        first = ", ".join(str(seq) for seq in missing[:5])
        yield f"{len(missing)} entries are missing in the log: {first}{', …' if len(missing) > 5 else ''}"
    if beyond := checks.entries_beyond_end(session, head):
        yield f"{beyond} entries of the log have numbers above {head.last_seq}, the last one given"
    if head.compacted_seq > head.last_seq:
        yield f"the log is marked as compacted up to {head.compacted_seq}, beyond its last entry {head.last_seq}"
    for item_id in checks.vanished_items(session, head):
        yield f"the log has vectors of item number {item_id}, which is gone without having been deleted"


def _entry_faults(session: Session, head: Head) -> Iterator[str]:
    for seq in checks.damaged_entries(session, head):
        yield f"entry {seq} of the log, which newer ones have replaced, is damaged"


def _item_faults(session: Session, head: Head) -> Iterator[str]:
    for item in checks.damaged_items(session, head):
        yield f"the row of item {item.key!r} (number {item.id}) or of one of its files is damaged"
    for name in collections.damaged_spaces(session, head.id):
        yield f"the row of the space {name!r} is damaged"
    for space in head.spaces:
        for modality in collections.damaged_tunings(session, space.id):
            yield f"the tuning of {modality} queries is damaged and not used; anyseek collections tune makes it anew"


def _derived_faults(session: Session, head: Head) -> Iterator[str]:
    for table in (FACETS, WORDS):
        if stale := list(checks.stale_keys(session, head, table)):
            yield f"{table.problem} {len(stale)} items as they are, such as {stale[0]!r}"


def _words_index_faults(session: Session) -> Iterator[str]:
    if WORDS.index_disagrees(session):
        yield "the index of words disagrees with their table, so words would not find some items"


def _space_faults(database: Database, head: Head, space: SpaceHead, backend: Backend) -> Iterator[str]:
    live = backend.open(head, space)
    yield from live.faults()
    yield from _index_faults(database, live, head, space)


def _asset_faults(database: Database, settings: Settings, name: str) -> Iterator[str]:
    for item, asset in broken_assets(database, open_assets(settings), name):
        yield f"the stored file of {asset.name!r} of item {item.key!r} is missing or has changed since it was stored"


def _vector_faults(session: Session, head: Head) -> Iterator[str]:
    """Faults of vectors, without missing ones in spaces that do not serve or of items that the last switch left out."""
    left_out = reembedding.left_out(session, head.id)
    for space in head.spaces:
        for key, what in checks.faulty_vectors(session, head, space):
            if what != checks.NO_VECTOR or key not in left_out:
                yield f"the item {key!r} {what} in space {space.name!r}"
    for space in head.beside:
        for key, what in checks.faulty_vectors(session, head, space):
            if what != checks.NO_VECTOR:
                yield f"the item {key!r} {what} in space {space.name!r}, which is {space.state}"


def _index_faults(database: Database, live: LiveSpace, head: Head, space: SpaceHead) -> Iterator[str]:
    """Differences between a newly opened index and the log; items that change meanwhile are not compared."""
    live.refresh(head)
    with live.open_view() as view, database.read() as session:
        now = collections.head_by_id(session, head.id)
        behind = live.cursor < min(now.compacted_seq, now.last_seq)
        differences = None if behind else _compare(session, live.cursor, view, head, space)
    if differences is None:  # deletions after the cursor are gone from the log, so the index must be reopened
        yield from _index_faults(database, live, now, space)
        return
    faults = ("lacks the vectors", "has wrong vectors", "has needless vectors")
    for count, what in zip(differences, faults, strict=True):
        if count:
            yield f"the index of space {space.name!r} {what} of {count} items"


def _compare(session: Session, cursor: int, view: View, head: Head, space: SpaceHead) -> tuple[int, int, int]:
    """The numbers of items that the index lacks, that differ from the log, and that the log does not have."""
    changed = np.array(sorted(log.items_after(session, head.id, cursor)), np.int64)
    missing = differing = matched = 0
    for page in log.latest_vectors(session, head.id, space.id):
        ids, raw = page.of(space.fingerprint, space.dimension)
        unchanged = ~np.isin(ids, changed)
        ids, expected = ids[unchanged], centre(raw[unchanged], view.centre, space.blocks)
        indexed, vectors = view.vectors(ids)
        missing += len(ids) - len(indexed)
        differing += int((np.abs(vectors - expected[np.isin(ids, indexed)]) > TOLERANCE).any(1).sum())
        matched += len(indexed)
    return missing, differing, view.count() - matched - len(view.vectors(changed)[0])


def sound_items(database: Database, name: str) -> Iterator[Item]:
    """The sound items of a collection, by id."""
    after = 0
    while True:
        with database.read() as session:
            ids = items.ids_after(session, collections.head(session, name).id, after, CHUNK)
            page = items.by_ids(session, ids)
        if not ids:
            return
        yield from (item for item in page.values() if not item.damaged)
        after = ids[-1]


def broken_assets(database: Database, store: AssetStore, name: str) -> Iterator[tuple[Item, Asset]]:
    """The stored files of a collection's sound items that are missing or have changed."""
    found = sound_items(database, name)
    stored = ((item, asset) for item in found for asset in item.assets.values() if asset.stored)
    for (item, asset), is_intact in ordered_ahead(lambda one: store.is_intact(one[1]), stored, store.threads):
        if not is_intact and _has_asset(database, item, asset):
            yield item, asset


def _has_asset(database: Database, item: Item, asset: Asset) -> bool:
    """True if the item still has the asset, which may have been replaced while its file was read."""
    with database.read() as session:
        now = items.by_ids(session, [item.id])
    return item.id in now and now[item.id].assets.get(asset.name) == asset


@dataclass(frozen=True)
class Original:
    """An original that is missing (`gone`) or has changed; `what` is the message."""

    collection: str
    gone: bool
    what: str


def check_originals(database: Database, settings: Settings, read_all: bool = False) -> list[Original]:
    """The originals that are missing or whose size has changed; with `read_all`, their content is verified, too."""
    store = open_assets(settings)

    @cache
    def folder_of(source_id: int | None) -> Path | None:
        with database.read() as session:
            return sources.folder_of(session, source_id)

    with database.read() as session:
        names = _collection_names(session)
    return [
        problem
        for name in names
        for item in sound_items(database, name)
        for asset in item.assets.values()
        if not asset.stored
        and (problem := _check_original(store, name, item, asset, folder_of(item.source_id), read_all))
    ]


def _check_original(
    store: AssetStore, collection: str, item: Item, asset: Asset, root: Path | None, read: bool
) -> Original | None:
    path = Path(asset.location)
    try:
        if read or path.is_symlink() or path.stat().st_size != asset.size_bytes:
            store.open(asset, root).close()
    except (AssetNotFound, FileNotFoundError, NotADirectoryError):
        return Original(collection, True, f"the original of item {item.key!r} is gone: {path}")
    except (AnyseekError, OSError) as error:
        return Original(collection, False, f"the original of item {item.key!r} has changed: {path}: {error}")
    return None


def summary(originals: list[Original]) -> str:
    """A phrase with the numbers of missing and of changed originals; empty if there are none."""
    gone = sum(original.gone for original in originals)
    counts = [(gone, "gone"), (len(originals) - gone, "changed")]
    return " and ".join(f"{count} original{'s' * (count != 1)} {what}" for count, what in counts if count)
