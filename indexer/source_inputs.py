"""The pipeline strategy of index jobs: read inputs, compare them with stored hashes, decode, embed, write items.

`prepare` runs in threads: some inputs are read and decoded while the thumbnails of others are stored.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from anyseek.indexer.attributes import merge_attributes, predict_attributes, read_metadata, reading_version
from anyseek.indexer.errors import BadDescription, DuplicateContent
from anyseek.indexer.paths import media_type
from anyseek.indexer.pipeline import Embed, Prepared, Vectors
from anyseek.indexer.runs import IndexerContext, Stores
from anyseek.indexer.samples import (
    CAPTION,
    DECODING_VERSION,
    PICTURE,
    THUMBNAIL,
    RawFile,
    content_hash,
    decode_all,
    sample_for,
    sample_hash,
    store_class_names,
)
from anyseek.indexer.sources.base import Description, Source
from anyseek.model.modalities.reading.pictures import THUMBNAIL_MEDIA_TYPE, thumbnail
from anyseek.model.seam import Sample
from anyseek.search.assets.files import reference
from anyseek.search.catalogue import collections, duplicates, item_rows, items, ledger
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import DUPLICATE, INDEXED, UNCHANGED, InputResult, Lease
from anyseek.search.errors import AssetNotFound, BadInput, KeyHeldElsewhere, StoreCorrupt
from anyseek.search.types import Asset, Collection, NewItem, OnDuplicate

# Threads that wait for a disk use no CPU, and a file system batches journal writes: flushing 32 thumbnails took 400 ms
# sequentially, and 10 to 80 ms in this many threads.
STORING_THREADS = 8

# key -> content hash and source id of the stored item
StoredHashes = Mapping[str, tuple[str, int | None]]


@dataclass(frozen=True)
class PreparedInput(Prepared):
    """An item to write; `vectors` are set if another item has the same `sample_hash`, so nothing is embedded."""

    item: NewItem
    sample_hash: str
    vectors: Vectors | None


@dataclass(frozen=True)
class Unchanged(InputResult):
    """An input with unchanged content; its item gets the new `stamp`, so that the next run need not read it."""

    stamp: str | None = None


def stamp_of(source: Source, description: Description, reading: str) -> str | None:
    """A hash over the sizes and times of an input's files and its description.

    An input whose item has the same stamp is not read again. None if the source has no file states, or a file is too
    recent. `reading` is the `reading_version`.
    """
    parts = []
    for modality, file in description.files.items():
        state = source.state(file.path)
        if state is None:
            return None
        parts.append([modality, source.name(file.path), state, sorted(file.classes.items())])
    whole = json.dumps([DECODING_VERSION, reading, parts, description.caption, description.attributes], sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


class IndexingStrategy:
    """`Strategy` for the inputs of one source. At most `work.decoding_threads` of them decode at once.

    `load` loads the model; it is called lazily, when the first input has to be embedded.
    """

    def __init__(
        self, stores: Stores, load: Callable[[], IndexerContext], collection: Collection, source: Source, job: Job
    ) -> None:
        self._stores = stores
        self._load = load
        self._collection = collection
        self._source = source
        self._source_id = job.source_id
        self._key_prefix = job.key_prefix
        self._on_duplicate = job.on_duplicate
        self._predicts = job.predicts
        self._reading = reading_version(stores.settings.photos, job.predicts, collection.model)
        self._decoding_threads = stores.settings.work.decoding_threads
        self._decoder_slots = threading.BoundedSemaphore(self._decoding_threads)

    @property
    def threads(self) -> int:
        """The number of inputs to prepare at once: some are read and decoded while others are stored."""
        return max(self._decoding_threads + STORING_THREADS, self._source.threads)

    def look_up(self, session: Session, leases: Sequence[Lease]) -> StoredHashes:
        return items.content_hashes(session, self._collection, [lease.key for lease in leases])

    def make_preparer(self, stored: StoredHashes) -> Callable[[Lease], PreparedInput | InputResult]:
        return partial(self.prepare, stored=stored)

    def prepare(self, lease: Lease, stored: StoredHashes) -> PreparedInput | InputResult:
        """Decide what to do with an input, and prepare it. Raises `SourceGone` if the whole source is gone."""
        try:
            return self._prepare(lease, stored)
        except BadInput as error:
            self._source.check()
            return InputResult(lease, None, str(error), error.code)

    def embed(self, prepared: Sequence[PreparedInput], embed: Embed) -> Sequence[Vectors]:
        """See `Strategy.embed`. Each distinct content is embedded only once."""
        known = {file.sample_hash: file.vectors for file in prepared if file.vectors is not None}
        unknown = [file for file in prepared if file.sample_hash not in known]
        with self._stores.database.read() as session:
            hashes = [file.sample_hash for file in unknown]
            known |= duplicates.vectors_by_sample(session, self._collection, hashes)
        missing = {file.sample_hash: file.sample for file in unknown if file.sample_hash not in known}
        if missing:
            made = embed(self._load().embedder, list(missing.values()), list(self._collection.spaces))
            known |= zip(missing, made, strict=True)
        return [known[file.sample_hash] for file in prepared]

    def write(
        self, session: Session, made: Sequence[tuple[PreparedInput, Vectors]], settled: Sequence[InputResult]
    ) -> int:
        """Write items and settle their inputs. Items whose files have moved here are replaced."""
        new_items = {file.lease: replace(file.item, vectors=vectors) for file, vectors in made}
        self._delete_moved(session, list(new_items.values()))
        stored = items.content_hashes(session, self._collection, [new.key for new in new_items.values()])
        refused: list[InputResult] = []
        for lease, new in new_items.items():
            try:
                if stored.get(new.key, ("", new.source_id))[1] != new.source_id:
                    raise KeyHeldElsewhere(
                        f"the key {new.key!r} belongs to an item of another folder or of the API; delete that one or "
                        "use another key"
                    )
                items.check_item(self._collection, new)
            except (BadInput, KeyHeldElsewhere) as error:
                refused.append(InputResult(lease, None, str(error), error.code))
        refused_leases = {settled.lease for settled in refused}
        accepted = {lease: new for lease, new in new_items.items() if lease not in refused_leases}
        duplicate_inputs = self._settle_duplicates(session, accepted)
        written = [lease for lease in accepted if lease not in {duplicate.lease for duplicate in duplicate_inputs}]
        ledger.settle(
            session, [*settled, *refused, *duplicate_inputs, *(InputResult(lease, INDEXED) for lease in written)]
        )
        items.write(session, self._collection, [new_items[lease] for lease in written])
        stamps = {same.lease.key: same.stamp for same in settled if isinstance(same, Unchanged)}
        item_rows.write_stamps(session, self._collection, stamps)
        return 0

    def _prepare(self, lease: Lease, stored: StoredHashes) -> PreparedInput | InputResult:
        description = self._source.describe(lease.uri)
        if self._key_prefix + (description.key or "") != lease.key:
            raise BadDescription(f"{lease.uri} changed its key during the job; index its source again")
        # The stamp comes before the files are read: a later change then changes the stamp.
        stamp = stamp_of(self._source, description, self._reading)
        files = [
            RawFile(modality, self._source.read(file.path), self._source.name(file.path), file.classes)
            for modality, file in description.files.items()
        ]
        with self._decoder_slots:  # reading and storing mostly wait, but this uses the CPU
            digest = content_hash(files, description.caption, description.attributes, self._reading)
            if stored.get(lease.key) == (digest, self._source_id):
                return Unchanged(lease, UNCHANGED, stamp=stamp)
            metadata = read_metadata(files, self._stores.settings)
        caption = description.caption if description.caption or CAPTION in description.modalities else metadata.caption
        content = sample_hash(files, caption, metadata.decoding_version)
        duplicate = self._find_same_content(description, content)
        sample, vectors = Sample({}), None
        if duplicate is not None:
            thumb, vectors = duplicate
        else:
            with self._decoder_slots:
                values = decode_all(files, caption, self._stores.settings.limits)
                thumb = thumbnail(np.asarray(values[PICTURE]).astype(np.uint8, copy=False))
            text = values.get(CAPTION)
            caption = text if isinstance(text, str) else None
            sample = sample_for(values, self._load().embedder.modalities)
        attributes = merge_attributes(description.attributes, metadata.attributes)
        if self._predicts:
            embedder = self._load().embedder
            with self._decoder_slots:
                attributes |= predict_attributes(thumb, embedder)
        item = NewItem(
            key=lease.key,
            content_hash=digest,
            vectors={},
            caption=caption,
            attributes=attributes,
            assets=(
                *(self._asset(file, description.files[file.modality].path) for file in files),
                *store_class_names(files, self._stores.assets),
                self._stores.assets.put(THUMBNAIL, thumb, THUMBNAIL_MEDIA_TYPE),
            ),
            source_id=self._source_id,
            sample_hash=content,
            stamp=stamp,
        )
        return PreparedInput(lease, sample, item, content, vectors)

    def _find_same_content(self, description: Description, content: str) -> tuple[bytes, Vectors] | None:
        """The thumbnail and vectors of an item with the same content; None if the input has to be decoded."""
        if CAPTION in description.modalities:
            return None
        with self._stores.database.read() as session:
            thumb = duplicates.find_asset(session, self._collection, content, THUMBNAIL)
            if thumb is None:
                return None
            vectors = duplicates.vectors_by_sample(session, self._collection, [content]).get(content)
        try:
            return None if vectors is None else (self._stores.assets.read(thumb), vectors)
        except (AssetNotFound, StoreCorrupt):
            return None

    def _asset(self, file: RawFile, ref: str) -> Asset:
        """A reference to the file in place, or a stored copy if its source has no local path."""
        path = self._source.local_path(ref)
        if path is None:
            return self._stores.assets.put(file.modality, file.data, media_type(file.data))
        return reference(file.modality, path, media_type(file.data), file.sha256, len(file.data))

    def _delete_moved(self, session: Session, new_items: Sequence[NewItem]) -> None:
        """Delete items that `new_items` replace: same content, and their own file is gone.

        A new key replaces at most one of them; a known key only the item with the same key.
        """
        contents = [new.sample_hash for new in new_items if new.sample_hash]
        stored = duplicates.pictures_of_contents(session, self._collection, contents)
        keys = items.content_hashes(session, self._collection, [new.key for new in new_items])
        gone: set[str] = set()
        for new in new_items:
            locations = (asset.location for asset in new.assets if asset.name == PICTURE and not asset.stored)
            path = next(map(Path, locations), None)
            same = stored.get(new.sample_hash or "", [])
            free = [old for old in same if old.is_free_for(path) and old.key not in gone]
            if new.key in keys:  # update in place, adopt from another source, or keep
                is_elsewhere = keys[new.key][1] != self._source_id
                gone.update(old.key for old in free if old.key == new.key and is_elsewhere)
            else:
                gone.update([old.key for old in free if old.key not in {other.key for other in new_items}][:1])
        if gone:
            items.delete(session, self._collection, sorted(gone))

    def _settle_duplicates(self, session: Session, new_items: Mapping[Lease, NewItem]) -> list[InputResult]:
        """The settlements of those of `new_items` that are duplicates and so are skipped or refused.

        Locks the collection, so that concurrent inputs with the same content are ordered.
        """
        if self._on_duplicate is OnDuplicate.LINK or not new_items:
            return []
        collections.lock(session, self._collection)
        twins = duplicates.keys_by_new_duplicate(session, self._collection, list(new_items.values()))
        outcome = DUPLICATE if self._on_duplicate is OnDuplicate.SKIP else None
        return [
            InputResult(
                lease, outcome, f"{lease.uri} has the same content as {twins[lease.key]!r}", DuplicateContent.code
            )
            for lease in new_items
            if lease.key in twins
        ]
