"""The inputs of an index job: read from their source, compared with what is held, decoded, embedded, written as items.

`prepare` runs in threads: one input is read and decoded while the thumbnails of others are stored.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sqlalchemy.orm import Session

from indexer.descriptions import Description, ModalityFile
from indexer.errors import BadDescription, DuplicateContent
from indexer.kinds import media_type
from indexer.photo_metadata.reading import joined, read_metadata, version
from indexer.pipeline import Prepared, Vectors, embed_samples
from indexer.runs import Tools
from indexer.samples import (
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
from indexer.sources.base import Source
from model.modalities.reading.pictures import THUMBNAIL_MEDIA_TYPE, thumbnail
from model.seam import Value
from search.assets import reference
from search.catalogue import collections, duplicates, items, ledger
from search.catalogue.jobs import Job
from search.catalogue.ledger import DUPLICATE, INDEXED, UNCHANGED, Lease, Settled
from search.errors import BadInput, KeyHeldElsewhere
from search.types import Asset, Attributes, Collection, NewItem, OnDuplicate

# Threads that wait for a disk take no processor, and a file system writes its journal once for all files that wait: 32
# thumbnails took 400 ms to flush one after another, and 10 to 80 ms in so many threads.
STORING_THREADS = 8

# key -> content hash and source of the item that is held
Held = Mapping[str, tuple[str, int | None]]


@dataclass(frozen=True)
class PreparedFile(Prepared):
    """Everything of an item but its vectors."""

    content_hash: str
    sample_hash: str
    caption: str | None
    attributes: Attributes
    assets: tuple[Asset, ...]


class SourceInputs:
    """Implements `Strategy` for the inputs of one source. At most `work.decoding_threads` of them decode at once."""

    def __init__(self, tools: Tools, collection: Collection, source: Source, job: Job) -> None:
        self._tools = tools
        self._collection = collection
        self._source = source
        self._source_id = job.source_id
        self._on_duplicate = job.on_duplicate
        self._decoding_threads = tools.settings.work.decoding_threads
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

    def embed(self, prepared: Sequence[PreparedFile]) -> Sequence[Vectors]:
        """Like `Strategy.embed`; the model runs at most once for each content."""
        hashes = [file.sample_hash for file in prepared]
        with self._tools.database.read() as session:
            known: dict[str, Vectors] = {**duplicates.vectors_by_sample(session, self._collection, hashes)}
        fresh = {file.sample_hash: file.sample for file in prepared if file.sample_hash not in known}
        if fresh:
            made = embed_samples(self._tools.embedder, list(fresh.values()), list(self._collection.spaces))
            known |= zip(fresh, made, strict=True)
        return [known[sample] for sample in hashes]

    def write(self, session: Session, made: Sequence[tuple[PreparedFile, Vectors]], settled: Sequence[Settled]) -> int:
        """Items, their log entries and the ledger's rows."""
        new_items = {file.lease: self._new_item(file, vectors) for file, vectors in made}
        held = items.hashes(session, self._collection, [new.key for new in new_items.values()])
        elsewhere = {
            lease for lease, new in new_items.items() if held.get(new.key, ("", new.source_id))[1] != new.source_id
        }
        refused = [Settled(lease, None, _held_elsewhere(lease), KeyHeldElsewhere.code) for lease in elsewhere]
        mine = {lease: new for lease, new in new_items.items() if lease not in elsewhere}
        again = self._settled_duplicates(session, mine)
        kept = [lease for lease in mine if lease not in {duplicate.lease for duplicate in again}]
        ledger.settle(session, [*settled, *refused, *again, *(Settled(lease, INDEXED) for lease in kept)])
        items.write(session, self._collection, [new_items[lease] for lease in kept])
        return 0

    def _prepare(self, lease: Lease, held: Held) -> PreparedFile | Settled:
        said = self._source.describe(lease.uri)
        if said.key != lease.key:
            raise BadDescription(f"{lease.uri} got another key while it was read; index its source again")
        refs = _refs(said)
        files = [self._read(modality, further) for modality, further in refs.items()]
        with self._may_decode:  # reading and storing mostly wait, but this needs a processor
            digest = content_hash(files, said.caption, said.attributes, version(self._tools.settings.photos))
            if held.get(lease.key) == (digest, self._source_id):
                return Settled(lease, UNCHANGED)
            metadata = read_metadata(files, self._tools.settings)
            caption = said.caption if said.caption or CAPTION in refs else metadata.caption
            values = decode_all(files, caption, self._tools.settings.limits)
            small = _thumbnail(values[PICTURE])
        text = values.get(CAPTION)
        assets = self._tools.assets
        return PreparedFile(
            lease=lease,
            content_hash=digest,
            sample_hash=sample_hash(files, caption, metadata.decoding_version),
            sample=sample_for(values, self._tools.embedder.modalities),
            caption=text if isinstance(text, str) else None,
            attributes=joined(said.attributes, metadata.attributes),
            assets=(
                *(self._asset(file, refs[file.modality].path) for file in files),
                *store_class_names(files, assets),
                assets.put(THUMBNAIL, small, THUMBNAIL_MEDIA_TYPE),
            ),
        )

    def _read(self, modality: str, file: ModalityFile) -> RawFile:
        return RawFile(modality, self._source.open(file.path), self._source.name(file.path), file.classes)

    def _asset(self, file: RawFile, ref: str) -> Asset:
        """A reference to the file where it is, or a stored copy if it cannot be referred to."""
        path = self._source.local(ref)
        if path is None:
            return self._tools.assets.put(file.modality, file.data, media_type(file.data))
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
        )

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


def _refs(said: Description) -> dict[str, ModalityFile]:
    """The files of an item by modality, its picture first."""
    assert said.file is not None
    return {PICTURE: ModalityFile(said.file), **said.modalities}


def _thumbnail(picture: Value) -> bytes:
    assert isinstance(picture, np.ndarray)
    return thumbnail(picture.astype(np.uint8, copy=False))


def _held_elsewhere(lease: Lease) -> str:
    return f"the key {lease.key!r} belongs to an item of another folder or of the API; delete that one or give a key"
