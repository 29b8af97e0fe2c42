"""Taking out the items of a source that it has no longer."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from indexer.samples import PICTURE
from indexer.sources.base import Source
from indexer.sources.folder import FOLDER_UNREADABLE
from search.catalogue import items, jobs, ledger, listing
from search.catalogue.jobs import Job
from search.catalogue.session import Database
from search.types import Collection, Item


def prune(database: Database, job: Job, source: Source, collection: Collection) -> None:
    """Delete the items of this source that no input of the job stands for.

    Nothing is pruned if some folder could not be read, and no item whose input is there but quarantined; where it
    cannot be told which input that is, nothing is pruned if there is any whose key could not be read.
    Raises `SourceGone` if the source is gone: then nothing more is pruned.
    """
    assert job.source_id is not None
    with database.read() as session:
        if ledger.has_failure(session, job.id, FOLDER_UNREADABLE):
            return
        for keys in items.keys_of_source(session, job.source_id):
            gone = _gone(session, job, source, collection, keys)
            source.check()
            if gone:
                _delete(database, job, collection, gone)


def _gone(session: Session, job: Job, source: Source, collection: Collection, keys: Sequence[str]) -> list[str]:
    absent = set(keys) - ledger.present(session, job.id, keys)
    inputs = {key: _input(item, source) for key, item in items.by_keys(session, collection, sorted(absent)).items()}
    kept = ledger.quarantined_uris(session, job.id, [uri for uri in inputs.values() if uri])
    unknown_stay = None in inputs.values() and listing.has_refused(session, job.id)
    return [key for key, uri in inputs.items() if uri not in kept and (uri is not None or not unknown_stay)]


def _input(item: Item, source: Source) -> str | None:
    """The uri of the input that the item's picture is, if the source can tell."""
    picture = item.assets.get(PICTURE)
    return None if picture is None or picture.stored else source.input_at(picture.location)


def _delete(database: Database, job: Job, collection: Collection, keys: Sequence[str]) -> None:
    """Delete those of `keys` that are still this folder's: one may have been put over the API meanwhile."""
    with database.write() as session:
        held = items.hashes(session, collection, keys)
        mine = [key for key, (_, source_id) in held.items() if source_id == job.source_id]
        jobs.add_pruned(session, job.id, items.delete(session, collection, mine))
