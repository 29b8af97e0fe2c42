"""The inputs of an index job: read from their source, compared with what is held, decoded, embedded, written as items.

`prepare` runs in threads: one input is read and decoded while the thumbnails of others are stored.
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

from anyseek.indexer.attributes import joined, predicted, read_metadata, reading_version
from anyseek.indexer.errors import BadDescription, DuplicateContent
from anyseek.indexer.paths import media_type
from anyseek.indexer.pipeline import Embed, Prepared, Vectors
from anyseek.indexer.runs import Stores, Tools
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
from anyseek.search.assets import reference
from anyseek.search.catalogue import collections, duplicates, item_rows, items, ledger
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import DUPLICATE, INDEXED, UNCHANGED, Lease, Settled
from anyseek.search.errors import AssetNotFound, BadInput, KeyHeldElsewhere, StoreCorrupt
from anyseek.search.types import Asset, Collection, NewItem, OnDuplicate

# Threads that wait for a disk take no processor, and a file system writes its journal once for all files that wait: 32
# thumbnails took 400 ms to flush one after another, and 10 to 80 ms in so many threads.
STORING_THREADS = 8

# key -> content hash and source of the item that is held
Held = Mapping[str, tuple[str, int | None]]


@dataclass(frozen=True)
class PreparedFile(Prepared):
    """An item without its vectors, which are known if another item has the content with this `sample_hash`."""

    item: NewItem
    sample_hash: str
    vectors: Vectors | None


@dataclass(frozen=True)
class Unchanged(Settled):
    """An input that was read and found unchanged; its item gets a new `stamp`, so that it need not be read again."""

    stamp: str | None = None


def stamp_of(source: Source, description: Description, reading: str) -> str | None:
    """A text that changes with the sizes and times of an input's files, and with what is said of it.

    An input with the stamp that its item has is not read again. None if the source cannot tell, or a file has just been
    written. `reading` is the `reading_version`.
    """
    parts = []
    for modality, file in description.files.items():
        state = source.state(file.path)
        if state is None:
            return None
        parts.append([modality, source.name(file.path), state, sorted(file.classes.items())])
    whole = json.dumps([DECODING_VERSION, reading, parts, description.caption, description.attributes], sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


class SourceInputs:
    """Implements `Strategy` for the inputs of one source. At most `work.decoding_threads` of them decode at once.

    `load` loads the model; it is called when the first input has to be embedded.
    """

    def __init__(
        self, stores: Stores, load: Callable[[], Tools], collection: Collection, source: Source, job: Job
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
        self._may_decode = threading.BoundedSemaphore(self._decoding_threads)

    @property
    def threads(self) -> int:
        """How many inputs are worth preparing at once: some are read and decoded while others are stored."""
        return max(self._decoding_threads + STORING_THREADS, self._source.threads)

    def look_up(self, session: Session, leases: Sequence[Lease]) -> Held:
        return items.content_hashes(session, self._collection, [lease.key for lease in leases])

    def preparer(self, held: Held) -> Callable[[Lease], PreparedFile | Settled]:
        return partial(self.prepare, held=held)

    def prepare(self, lease: Lease, held: Held) -> PreparedFile | Settled:
        """Decide what to do with an input, and prepare it. Raises `SourceGone` if the whole source is gone."""
        try:
            return self._prepare(lease, held)
        except BadInput as error:
            self._source.check()
            return Settled(lease, None, str(error), error.code)

    def embed(self, prepared: Sequence[PreparedFile], embed: Embed) -> Sequence[Vectors]:
        """Like `Strategy.embed`; the model runs at most once for each content."""
        known = {file.sample_hash: file.vectors for file in prepared if file.vectors is not None}
        unknown = [file for file in prepared if file.sample_hash not in known]
        with self._stores.database.read() as session:
            hashes = [file.sample_hash for file in unknown]
            known |= duplicates.vectors_by_sample(session, self._collection, hashes)
        fresh = {file.sample_hash: file.sample for file in unknown if file.sample_hash not in known}
        if fresh:
            made = embed(self._load().embedder, list(fresh.values()), list(self._collection.spaces))
            known |= zip(fresh, made, strict=True)
        return [known[file.sample_hash] for file in prepared]

    def write(self, session: Session, made: Sequence[tuple[PreparedFile, Vectors]], settled: Sequence[Settled]) -> int:
        """Items, their log entries and the ledger's rows. Items whose files have moved here are replaced."""
        new_items = {file.lease: replace(file.item, vectors=vectors) for file, vectors in made}
        self._let_go_of_moved(session, list(new_items.values()))
        held = items.content_hashes(session, self._collection, [new.key for new in new_items.values()])
        refused: list[Settled] = []
        for lease, new in new_items.items():
            try:
                if held.get(new.key, ("", new.source_id))[1] != new.source_id:
                    raise KeyHeldElsewhere(
                        f"the key {new.key!r} belongs to an item of another folder or of the API; delete that one or "
                        "give a key"
                    )
                items.check_item(self._collection, new)
            except (BadInput, KeyHeldElsewhere) as error:
                refused.append(Settled(lease, None, str(error), error.code))
        left = {settled.lease for settled in refused}
        mine = {lease: new for lease, new in new_items.items() if lease not in left}
        again = self._settled_duplicates(session, mine)
        kept = [lease for lease in mine if lease not in {duplicate.lease for duplicate in again}]
        ledger.settle(session, [*settled, *refused, *again, *(Settled(lease, INDEXED) for lease in kept)])
        items.write(session, self._collection, [new_items[lease] for lease in kept])
        again_read = {same.lease.key: same.stamp for same in settled if isinstance(same, Unchanged)}
        item_rows.write_stamps(session, self._collection, again_read)
        return 0

    def _prepare(self, lease: Lease, held: Held) -> PreparedFile | Settled:
        description = self._source.describe(lease.uri)
        if self._key_prefix + (description.key or "") != lease.key:
            raise BadDescription(f"{lease.uri} got another key while it was read; index its source again")
        # The stamp comes before the files are read: what changes later changes the stamp.
        stamp = stamp_of(self._source, description, self._reading)
        files = [
            RawFile(modality, self._source.read(file.path), self._source.name(file.path), file.classes)
            for modality, file in description.files.items()
        ]
        with self._may_decode:  # reading and storing mostly wait, but this needs a processor
            digest = content_hash(files, description.caption, description.attributes, self._reading)
            if held.get(lease.key) == (digest, self._source_id):
                return Unchanged(lease, UNCHANGED, stamp=stamp)
            metadata = read_metadata(files, self._stores.settings)
        caption = description.caption if description.caption or CAPTION in description.modalities else metadata.caption
        content = sample_hash(files, caption, metadata.decoding_version)
        again = self._known(description, content)
        sample, vectors = Sample({}), None
        if again is not None:
            small, vectors = again
        else:
            with self._may_decode:
                values = decode_all(files, caption, self._stores.settings.limits)
                small = thumbnail(np.asarray(values[PICTURE]).astype(np.uint8, copy=False))
            text = values.get(CAPTION)
            caption = text if isinstance(text, str) else None
            sample = sample_for(values, self._load().embedder.modalities)
        attributes = joined(description.attributes, metadata.attributes)
        if self._predicts:
            embedder = self._load().embedder
            with self._may_decode:
                attributes |= predicted(small, embedder)
        item = NewItem(
            key=lease.key,
            content_hash=digest,
            vectors={},
            caption=caption,
            attributes=attributes,
            assets=(
                *(self._asset(file, description.files[file.modality].path) for file in files),
                *store_class_names(files, self._stores.assets),
                self._stores.assets.put(THUMBNAIL, small, THUMBNAIL_MEDIA_TYPE),
            ),
            source_id=self._source_id,
            sample_hash=content,
            stamp=stamp,
        )
        return PreparedFile(lease, sample, item, content, vectors)

    def _known(self, description: Description, content: str) -> tuple[bytes, Vectors] | None:
        """The thumbnail and vectors of another item of this content; None if something has to be decoded."""
        if CAPTION in description.modalities:
            return None
        with self._stores.database.read() as session:
            small = duplicates.asset_of(session, self._collection, content, THUMBNAIL)
            if small is None:
                return None
            vectors = duplicates.vectors_by_sample(session, self._collection, [content]).get(content)
        try:
            return None if vectors is None else (self._stores.assets.read(small), vectors)
        except (AssetNotFound, StoreCorrupt):
            return None

    def _asset(self, file: RawFile, ref: str) -> Asset:
        """A reference to the file where it is, or a stored copy if it cannot be referred to."""
        path = self._source.local_path(ref)
        if path is None:
            return self._stores.assets.put(file.modality, file.data, media_type(file.data))
        return reference(file.modality, path, media_type(file.data), file.sha256, len(file.data))

    def _let_go_of_moved(self, session: Session, new_items: Sequence[NewItem]) -> None:
        """Delete items whose content is among `new_items` and whose own file is gone: they come back with those.

        An item with a new key takes the place of one of them, an item whose key is held only of that with its key.
        """
        contents = [new.sample_hash for new in new_items if new.sample_hash]
        held = duplicates.pictures_of_contents(session, self._collection, contents)
        keys = items.content_hashes(session, self._collection, [new.key for new in new_items])
        gone: set[str] = set()
        for new in new_items:
            stays = (asset.location for asset in new.assets if asset.name == PICTURE and not asset.stored)
            path = next(map(Path, stays), None)
            free = [old for old in held.get(new.sample_hash or "", []) if old.is_free_for(path) and old.key not in gone]
            if new.key in keys:  # its item is replaced by itself, or by its file at another place, or stays
                elsewhere = keys[new.key][1] != self._source_id
                gone.update(old.key for old in free if old.key == new.key and elsewhere)
            else:
                gone.update([old.key for old in free if old.key not in {other.key for other in new_items}][:1])
        if gone:
            items.delete(session, self._collection, sorted(gone))

    def _settled_duplicates(self, session: Session, new_items: Mapping[Lease, NewItem]) -> list[Settled]:
        """Those of `new_items` whose content another key has and that are not to be written, as they are settled.

        Takes the collection's lock, so that of two keys that come at once one is the first.
        """
        if self._on_duplicate is OnDuplicate.LINK or not new_items:
            return []
        collections.lock(session, self._collection)
        twins = duplicates.twins(session, self._collection, list(new_items.values()))
        outcome = DUPLICATE if self._on_duplicate is OnDuplicate.SKIP else None
        return [
            Settled(lease, outcome, f"{lease.uri} has the same content as {twins[lease.key]!r}", DuplicateContent.code)
            for lease in new_items
            if lease.key in twins
        ]
