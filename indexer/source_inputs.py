"""The inputs of an index job: read from their source, compared with what is held, decoded, embedded, written as items.

`prepare` runs in threads: one input is read and decoded while the thumbnails of others are stored.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from anyseek.indexer.descriptions import Description, ModalityFile
from anyseek.indexer.embedders import Embed, Vectors
from anyseek.indexer.errors import BadDescription, DuplicateContent
from anyseek.indexer.kinds import media_type
from anyseek.indexer.photo_metadata.reading import joined, read_metadata
from anyseek.indexer.pipeline import Prepared
from anyseek.indexer.predicted import predicted, reading_version
from anyseek.indexer.runs import Stores, Tools
from anyseek.indexer.samples import (
    CAPTION,
    PICTURE,
    THUMBNAIL,
    RawFile,
    content_hash,
    decode_all,
    sample_for,
    sample_hash,
    store_class_names,
)
from anyseek.indexer.sources.base import Source
from anyseek.indexer.stamps import stamp_of
from anyseek.model.modalities.reading.pictures import THUMBNAIL_MEDIA_TYPE, thumbnail
from anyseek.model.seam import Sample, Value
from anyseek.search.assets import reference
from anyseek.search.catalogue import collections, duplicates, item_rows, items, ledger
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import DUPLICATE, INDEXED, UNCHANGED, Lease, Settled
from anyseek.search.errors import AssetNotFound, BadInput, KeyHeldElsewhere, StoreCorrupt
from anyseek.search.types import Asset, Attributes, Collection, NewItem, OnDuplicate

# Threads that wait for a disk take no processor, and a file system writes its journal once for all files that wait: 32
# thumbnails took 400 ms to flush one after another, and 10 to 80 ms in so many threads.
STORING_THREADS = 8

# key -> content hash and source of the item that is held
Held = Mapping[str, tuple[str, int | None]]


@dataclass(frozen=True)
class PreparedFile(Prepared):
    """Everything of an item but its vectors, which are known if another item has this content."""

    content_hash: str
    sample_hash: str
    caption: str | None
    attributes: Attributes
    assets: tuple[Asset, ...]
    stamp: str | None
    vectors: Vectors | None


@dataclass(frozen=True)
class Unchanged(Settled):
    """An input that was read and found unchanged; its item gets a new `stamp`, so that it need not be read again."""

    stamp: str | None = None


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
        return items.hashes(session, self._collection, [lease.key for lease in leases])

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
        new_items = {file.lease: self._new_item(file, vectors) for file, vectors in made}
        self._let_go_of_moved(session, list(new_items.values()))
        held = items.hashes(session, self._collection, [new.key for new in new_items.values()])
        elsewhere = {
            lease for lease, new in new_items.items() if held.get(new.key, ("", new.source_id))[1] != new.source_id
        }
        refused = [Settled(lease, None, _held_elsewhere(lease), KeyHeldElsewhere.code) for lease in elsewhere]
        refused += [bad for lease, new in new_items.items() if (bad := self._unfit(lease, new)) is not None]
        left = {settled.lease for settled in refused}
        mine = {lease: new for lease, new in new_items.items() if lease not in left}
        again = self._settled_duplicates(session, mine)
        kept = [lease for lease in mine if lease not in {duplicate.lease for duplicate in again}]
        ledger.settle(session, [*settled, *refused, *again, *(Settled(lease, INDEXED) for lease in kept)])
        items.write(session, self._collection, [new_items[lease] for lease in kept])
        again_read = {same.lease.key: same.stamp for same in settled if isinstance(same, Unchanged)}
        item_rows.write_stamps(session, self._collection, again_read)
        return 0

    def _unfit(self, lease: Lease, new: NewItem) -> Settled | None:
        try:
            items.check(self._collection, new)
        except BadInput as error:
            return Settled(lease, None, str(error), error.code)
        return None

    def _prepare(self, lease: Lease, held: Held) -> PreparedFile | Settled:
        said = self._source.describe(lease.uri)
        if said.key != lease.key:
            raise BadDescription(f"{lease.uri} got another key while it was read; index its source again")
        # The stamp comes before the files are read: what changes later changes the stamp.
        stamp = stamp_of(self._source, said, self._reading)
        files = [self._read(modality, further) for modality, further in said.files.items()]
        with self._may_decode:  # reading and storing mostly wait, but this needs a processor
            digest = content_hash(files, said.caption, said.attributes, self._reading)
            if held.get(lease.key) == (digest, self._source_id):
                return Unchanged(lease, UNCHANGED, stamp=stamp)
            metadata = read_metadata(files, self._stores.settings)
        caption = said.caption if said.caption or CAPTION in said.modalities else metadata.caption
        content = sample_hash(files, caption, metadata.decoding_version)
        again = self._known(said, content)
        values, small = ({}, again.thumbnail) if again else self._decoded(files, caption)
        text = values.get(CAPTION, caption)
        return PreparedFile(
            lease=lease,
            content_hash=digest,
            sample_hash=content,
            sample=sample_for(values, self._load().embedder.modalities) if again is None else Sample({}),
            caption=text if isinstance(text, str) else None,
            attributes=joined(said.attributes, metadata.attributes) | self._predicted(small),
            assets=(
                *(self._asset(file, said.files[file.modality].path) for file in files),
                *store_class_names(files, self._stores.assets),
                self._stores.assets.put(THUMBNAIL, small, THUMBNAIL_MEDIA_TYPE),
            ),
            stamp=stamp,
            vectors=again.vectors if again else None,
        )

    def _decoded(self, files: Sequence[RawFile], caption: str | None) -> tuple[Mapping[str, Value], bytes]:
        """The values of an input, and its thumbnail. Raises `DecodeError`."""
        with self._may_decode:
            values = decode_all(files, caption, self._stores.settings.limits)
            return values, _thumbnail(values[PICTURE])

    def _predicted(self, small: bytes) -> dict[str, Any]:
        """What is predicted from a thumbnail, if the source asks for it."""
        if not self._predicts:
            return {}
        embedder = self._load().embedder
        with self._may_decode:
            return predicted(small, embedder)

    def _known(self, said: Description, content: str) -> "_Known | None":
        """What another item of this content has, so that it need not be decoded; None if something has to be."""
        if CAPTION in said.modalities:
            return None
        with self._stores.database.read() as session:
            small = duplicates.asset_of(session, self._collection, content, THUMBNAIL)
            if small is None:
                return None
            vectors = duplicates.vectors_by_sample(session, self._collection, [content]).get(content)
        try:
            return None if vectors is None else _Known(self._stores.assets.read(small), vectors)
        except (AssetNotFound, StoreCorrupt):
            return None

    def _read(self, modality: str, file: ModalityFile) -> RawFile:
        return RawFile(modality, self._source.open(file.path), self._source.name(file.path), file.classes)

    def _asset(self, file: RawFile, ref: str) -> Asset:
        """A reference to the file where it is, or a stored copy if it cannot be referred to."""
        path = self._source.local(ref)
        if path is None:
            return self._stores.assets.put(file.modality, file.data, media_type(file.data))
        return reference(file.modality, path, media_type(file.data), file.sha256, len(file.data))

    def _new_item(self, file: PreparedFile, vectors: Vectors) -> NewItem:
        return NewItem(
            key=file.lease.key,
            content_hash=file.content_hash,
            vectors=vectors,
            caption=file.caption,
            attributes=file.attributes,
            assets=file.assets,
            source_id=self._source_id,
            sample_hash=file.sample_hash,
            stamp=file.stamp,
        )

    def _let_go_of_moved(self, session: Session, new_items: Sequence[NewItem]) -> None:
        """Delete items whose content is among `new_items` and whose own file is gone: they come back with those.

        An item with a new key takes the place of one of them, an item whose key is held only of that with its key.
        """
        contents = [new.sample_hash for new in new_items if new.sample_hash]
        held = duplicates.pictures_of_contents(session, self._collection, contents)
        keys = items.hashes(session, self._collection, [new.key for new in new_items])
        gone: set[str] = set()
        for new in new_items:
            path = _path_of(new)
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


@dataclass(frozen=True)
class _Known:
    """What an item of some content has: its thumbnail, and its vectors by space."""

    thumbnail: bytes
    vectors: Vectors


def _path_of(new: NewItem) -> Path | None:
    """Where the picture of an item stays, None if it is stored."""
    return next((Path(asset.location) for asset in new.assets if asset.name == PICTURE and not asset.stored), None)


def _thumbnail(picture: Value) -> bytes:
    assert isinstance(picture, np.ndarray)
    return thumbnail(picture.astype(np.uint8, copy=False))


def _held_elsewhere(lease: Lease) -> str:
    return f"the key {lease.key!r} belongs to an item of another folder or of the API; delete that one or give a key"
