"""Taking out the items of a folder whose files are gone."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from indexer.paths import to_uri
from indexer.samples import PICTURE
from indexer.sources import FOLDER_UNREADABLE, FolderSource
from search.catalogue import items, jobs, ledger
from search.catalogue.jobs import Job
from search.catalogue.session import Database
from search.types import Collection, Item


def prune(database: Database, job: Job, source: FolderSource, collection: Collection) -> None:
    """Delete the items of this folder that no input of the job stands for.

    Nothing is pruned if some folder could not be read, and no item whose file is there but quarantined.
    Raises `SourceGone` if the folder is gone: then nothing more is pruned.
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


def _gone(session: Session, job: Job, source: FolderSource, collection: Collection, keys: Sequence[str]) -> list[str]:
    absent = set(keys) - ledger.present(session, job.id, keys)
    files = {key: _file(item, source) for key, item in items.by_keys(session, collection, sorted(absent)).items()}
    kept = ledger.quarantined_uris(session, job.id, [file for file in files.values() if file])
    return [key for key, file in files.items() if file not in kept]


def _file(item: Item, source: FolderSource) -> str | None:
    """The uri of the file that the item's picture is, unless a copy of it is stored."""
    picture = item.assets.get(PICTURE)
    if picture is None or picture.stored:
        return None
    return to_uri(picture.location.removeprefix(f"{source.root}/"))


def _delete(database: Database, job: Job, collection: Collection, keys: Sequence[str]) -> None:
    """Delete those of `keys` that are still this folder's: one may have been put over the API meanwhile."""
    with database.write() as session:
        held = items.hashes(session, collection, keys)
        mine = [key for key, (_, source_id) in held.items() if source_id == job.source_id]
        jobs.add_pruned(session, job.id, items.delete(session, collection, mine))
