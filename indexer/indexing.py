"""The index job: it makes a collection match a source, from the scan to the snapshot."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from sqlalchemy.orm import Session

from anyseek.indexer.attributes import reading_version
from anyseek.indexer.errors import BadDescription, ModelMismatch
from anyseek.indexer.paths import one_line
from anyseek.indexer.pipeline import Pipeline
from anyseek.indexer.runs import IndexerContext, JobRun, Owner, Progress, Stores
from anyseek.indexer.samples import PICTURE
from anyseek.indexer.source_inputs import IndexingStrategy, stamp_of
from anyseek.indexer.sources.base import Source, SourceInput, pages
from anyseek.indexer.sources.folder import FOLDER_UNREADABLE
from anyseek.model.seam import Embedder
from anyseek.search.actor import Actor, acting_as, current_actor
from anyseek.search.assets.opening import open_assets
from anyseek.search.catalogue import collections, item_rows, items, jobs, ledger, sources
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Span
from anyseek.search.errors import CollectionExists, CollectionNotFound, FingerprintMismatch, LimitExceeded
from anyseek.search.filters.tree import is_storable
from anyseek.search.spaces.base import open_backend
from anyseek.search.types import Collection, OnDuplicate
from anyseek.search.upkeep.snapshots import write_snapshots

_SHOWN_CHARACTERS = 200  # of a name that is too long to store


def ensure_collection(context: IndexerContext, name: str) -> Collection:
    """The collection `name`, created with the loaded model if it does not exist.

    Raises as `get_compatible_collection` does, and `BadInput` for an invalid name.
    """
    try:
        return get_compatible_collection(context, name)
    except CollectionNotFound:
        pass
    embedder = context.embedder
    try:
        with context.database.write() as session:
            return collections.create(session, name, embedder.name, embedder.spaces.values())
    except CollectionExists:  # another process has created it meanwhile
        return get_compatible_collection(context, name)


def get_compatible_collection(context: IndexerContext, name: str) -> Collection:
    """The collection `name`, checked to be compatible with the loaded model.

    Raises `CollectionNotFound`, `ModelMismatch` if it was made with another model, `FingerprintMismatch` if with other
    weights of it.
    """
    with context.database.read() as session:
        collection = collections.get(session, name)
    check_model(collection, context.embedder.name)
    if not is_compatible(collection, context.embedder):
        raise FingerprintMismatch(
            f"the collection {name!r} was made with other weights of {collection.model} than the loaded ones; "
            "index into a new collection, or delete this one first"
        )
    return collection


def is_compatible(collection: Collection, embedder: Embedder) -> bool:
    """Whether the model has all spaces of the collection, with the same fingerprints.

    The collection may lack a space that was added to the model later and has a substitute (`instead`).
    """
    stored = {space.name: space.fingerprint for space in collection.spaces.values()}
    spaces = embedder.spaces.items()
    needed = {name: space.fingerprint for name, space in spaces if name in stored or space.instead is None}
    return stored == needed


def check_model(collection: Collection, model: str) -> None:
    """Raises `ModelMismatch`."""
    if collection.model != model:
        raise ModelMismatch(
            f"the collection {collection.name!r} was made with the model {collection.model} and cannot hold vectors of "
            f"{model}; use its model or another collection"
        )


def open_job(
    collection: Collection,
    source: Source,
    owner: Owner,
    prune: bool,
    adopt: bool = True,
    on_duplicate: OnDuplicate = OnDuplicate.LINK,
    predicts: bool | None = None,
) -> Job:
    """The job that indexes a source: a new one, an interrupted one that `owner` adopts, or a running one.

    Without `adopt`, an interrupted job is left to other owners. `predicts` turns predicted attributes of items on or
    off; None leaves the source's setting unchanged.
    Raises `SourceBusy` if it changes while a job runs on the source.
    """
    with owner.database.write() as session:
        source_id = sources.ensure(session, collection, source.uri)
        if predicts is not None:
            sources.set_predicts(session, source_id, predicts)
        name = owner.name if adopt else None
        is_alive = owner.liveness_check(session)
        return jobs.open_index_job(session, collection, source_id, name, prune, is_alive, on_duplicate)


class IndexRun(JobRun):
    """The run of an index job; keys get the prefix of the job's source.

    `load_context` loads the collection's model. It is called lazily, when the first input has to be embedded.
    """

    def __init__(
        self, load_context: Callable[[], IndexerContext], source: Source, owner: Owner, progress: Progress
    ) -> None:
        super().__init__(owner, progress)
        self._load_context = load_context
        self._source = source
        self._context: IndexerContext | None = None  # once they were found to fit the collection
        self._loading = threading.Lock()

    def work(self, job: Job, span: Span | None = None) -> None:
        """See `JobRun.work`. Raises `SourceGone` if the source disappears, `QuotaExceeded` if the job's API key may not
        store more, and as `get_compatible_collection` does.
        """
        with self._database.read() as session:
            collection = collections.get(session, job.collection)
        stores = Stores(self._owner.settings, self._database, open_assets(self._owner.settings))
        strategy = IndexingStrategy(stores, lambda: self._load(job), collection, self._source, job)
        # Stored bytes count towards the quota of the API key that started the job.
        who = current_actor() if job.charged_to is None else replace(current_actor(), who=Actor.of_key(job.charged_to))
        with acting_as(who):
            Pipeline(self._owner, self._progress, strategy).work(job, span)

    def end(self, job: Job) -> bool:
        """Prune if the job asks for it, and close the job; false while inputs are open. Raises `SourceGone`."""
        with self._database.read() as session:
            if ledger.has_open(session, jobs.reload(session, job).id):
                return False
        self._source.check()
        if job.prune:
            self._prune(job)
        with self._database.write() as session:
            return jobs.complete(session, job.id)

    def _step(self, job: Job) -> bool:
        """See `JobRun._step`. Also writes snapshots that are due at the end, or that a killed run did not write."""
        has_progressed = super()._step(job)
        if has_progressed and job.state == JobState.RUNNING:
            if self._context is not None:
                self._context.engine.write_snapshots(job.collection)
            else:  # nothing was embedded, so no engine was loaded
                with closing(open_backend(self._database, self._owner.settings)) as backend:
                    write_snapshots(self._database, self._owner.settings, job.collection, backend.open)
        return has_progressed

    def _load(self, job: Job) -> IndexerContext:
        """The context with the model, checked once. Raises as `get_compatible_collection` and as loading does."""
        with self._loading:
            if self._context is None:
                context = self._load_context()
                get_compatible_collection(context, job.collection)
                self._context = context
            return self._context

    def _list_inputs(self, job: Job) -> None:
        assert job.source_id is not None
        with self._database.read() as session:
            collection = collections.get(session, job.collection)
        source, reading = self._source, reading_version(self._owner.settings.photos, job.predicts, collection.model)
        listed = refused = 0
        for page in pages(_with_prefix(found, job.key_prefix) for found in source.scan()):
            self._owner.check()
            self._check_refused(refused, listed)
            seen = {
                found.key: stamp_of(source, found.description, reading)
                for found in page
                if found.description is not None
            }
            with self._database.write() as session:
                locked = jobs.get_locked(session, job.id)
                if locked.state != JobState.SCANNING or locked.owner != self._owner.name:
                    return  # it was cancelled, or another process adopted it because this one seemed dead
                stored = item_rows.stamps_of_keys(session, collection, job.source_id, list(seen))
                same = {key for key, stamp in stored.items() if seen[key] == stamp}
                refused += ledger.add(session, job.id, [_new_input(found, found.key in same) for found in page])
            listed += len(page)
            self._progress.scanned(len(page))
        with self._database.write() as session:
            if not jobs.start(session, job.id, self._owner.name, self._source.ignored):
                return
            waiting = ledger.counts(session, job.id).open
        self._progress.started(waiting)

    def _check_refused(self, refused: int, listed: int) -> None:
        """Raises `LimitExceeded` if more than half of the inputs, and more than the limit, are refused."""
        limit = self._owner.settings.limits.refused_inputs
        if refused > max(limit, listed // 2):
            raise LimitExceeded(
                f"{refused:,} of the first {listed:,} inputs of {self._source.uri} are refused; the job's failures "
                f"say why. At most {limit:,} may be; repair the source, or raise ANYSEEK_LIMITS_REFUSED_INPUTS"
            )

    def _prune(self, job: Job) -> None:
        """Delete the items of this source that have no input in the job.

        Nothing is pruned if a folder could not be read. Items of quarantined inputs are kept, and so are items whose
        input is unknown while the job has refused inputs. Raises `SourceGone` if the source is gone.
        """
        assert job.source_id is not None
        with self._database.read() as session:
            if ledger.has_failure(session, job.id, FOLDER_UNREADABLE):
                return
            collection = collections.get(session, job.collection)
            for keys in items.keys_of_source(session, job.source_id):
                gone = self._removed_keys(session, job, collection, keys)
                self._source.check()
                if gone:
                    with self._database.write() as writing:
                        jobs.reload(writing, job)
                        stored = items.content_hashes(writing, collection, gone)
                        # One of them may have been put through the API meanwhile.
                        mine = [key for key, (_, source_id) in stored.items() if source_id == job.source_id]
                        jobs.add_pruned(writing, job.id, items.delete(writing, collection, mine))

    def _removed_keys(self, session: Session, job: Job, collection: Collection, keys: Sequence[str]) -> list[str]:
        absent = set(keys) - ledger.keys_of_inputs(session, job.id, keys)
        candidates = items.by_keys(session, collection, sorted(absent))
        pictures = {key: item.assets.get(PICTURE) for key, item in candidates.items()}
        inputs = {
            key: None if picture is None or picture.stored else self._source.uri_at(picture.location)
            for key, picture in pictures.items()
        }
        quarantined = ledger.quarantined_uris(session, job.id, [uri for uri in inputs.values() if uri])
        keeps_unknown = None in inputs.values() and ledger.has_refused(session, job.id)
        return [key for key, uri in inputs.items() if uri not in quarantined and (uri is not None or not keeps_unknown)]


def _with_prefix(found: SourceInput, prefix: str) -> SourceInput:
    """The input with a prefix before its key; it is refused if the result is not a valid key."""
    if not prefix or items.is_valid_key(prefix + found.key):
        return replace(found, key=prefix + found.key)
    reason = f"with its prefix, the key {found.key[:40]!r} is not {items.KEYS}; use a shorter one"
    return replace(found, reason=reason, reason_code=BadDescription.code)


def _new_input(found: SourceInput, is_unchanged: bool) -> ledger.NewInput:
    """The ledger's row for an input; an unstorable uri or key is shortened, and the input refused."""
    uri, key = _to_storable(found.uri), _to_storable(found.key)
    if found.reason is not None or (uri == found.uri and items.is_valid_key(found.key)):
        outcome = ledger.UNCHANGED if is_unchanged else None
        return ledger.NewInput(uri, key, found.reason, found.reason_code, outcome)
    what = "name" if uri != found.uri else "key"
    reason = f"{uri} has a {what} that cannot be stored, which is {items.KEYS}; give it a shorter name and a key"
    return ledger.NewInput(uri, key, reason, BadDescription.code)


def _to_storable(text: str) -> str:
    """The text, or its start and hash if databases cannot index it."""
    if len(text.encode("utf-8", "surrogateescape")) <= items.KEY_BYTES and is_storable(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{one_line(text[:_SHOWN_CHARACTERS])}…{digest[:16]}"
