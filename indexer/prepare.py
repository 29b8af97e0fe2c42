"""One leased input: read, compared with what is held, decoded, its thumbnail stored. Runs in threads."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from indexer.class_names import stored_names
from indexer.decode import thumbnail
from indexer.descriptions import Description, ModalityFile
from indexer.errors import BadDescription
from indexer.kinds import media_type
from indexer.pictures import THUMBNAIL_MEDIA_TYPE
from indexer.samples import CAPTION, PICTURE, THUMBNAIL, RawFile, content_hash, decode_all, sample_for, sample_hash
from indexer.sources.base import Source
from model.embedder import Sample, Value
from search.assets import AssetStore, reference
from search.catalogue.ledger import Lease
from search.errors import BadInput
from search.settings import Limits
from search.types import Asset, Attributes

# Threads that wait for a disk take no processor, and a file system writes its journal once for all files that wait: 32
# thumbnails took 400 ms to flush one after another, and 10 to 80 ms in so many threads.
STORING_THREADS = 8

# key -> content hash and source of the item that is held
Held = Mapping[str, tuple[str, int | None]]


@dataclass(frozen=True)
class Prepared:
    """Everything of an item but its vectors."""

    lease: Lease
    content_hash: str
    sample_hash: str
    sample: Sample
    caption: str | None
    attributes: Attributes
    assets: tuple[Asset, ...]


@dataclass(frozen=True)
class Unchanged:
    lease: Lease


@dataclass(frozen=True)
class Refused:
    lease: Lease
    code: str
    reason: str


Outcome = Prepared | Unchanged | Refused


class Preparer:
    """Prepares inputs of one source. Safe for several threads, of which at most `decoding_threads` decode at once."""

    def __init__(
        self,
        source: Source,
        source_id: int,
        assets: AssetStore,
        modalities: frozenset[str],
        limits: Limits,
        decoding_threads: int,
    ) -> None:
        self._source = source
        self._source_id = source_id
        self._assets = assets
        self._modalities = modalities
        self._limits = limits
        self._decoding_threads = decoding_threads
        self._may_decode = threading.BoundedSemaphore(decoding_threads)

    @property
    def threads(self) -> int:
        """How many inputs are worth preparing at once: some are read and decoded while others are stored."""
        return max(self._decoding_threads + STORING_THREADS, self._source.threads)

    def prepare(self, lease: Lease, held: Held) -> Outcome:
        """What is to be done with an input. Raises `SourceGone` if the whole source is gone."""
        try:
            return self._prepare(lease, held)
        except BadInput as error:
            self._source.check()
            return Refused(lease, error.code, str(error))

    def _prepare(self, lease: Lease, held: Held) -> Outcome:
        said = self._source.describe(lease.uri)
        if said.key != lease.key:
            raise BadDescription(f"{lease.uri} was given another key while it was read; index its source again")
        refs = _refs(said)
        files = [self._read(modality, further) for modality, further in refs.items()]
        with self._may_decode:  # reading and storing wait for others, this takes a processor
            digest = content_hash(files, said.caption, said.attributes)
            if held.get(lease.key) == (digest, self._source_id):
                return Unchanged(lease)
            values = decode_all(files, said.caption, self._limits)
            small = _thumbnail(values[PICTURE])
        caption = values.get(CAPTION)
        return Prepared(
            lease=lease,
            content_hash=digest,
            sample_hash=sample_hash(files, said.caption),
            sample=sample_for(values, self._modalities),
            caption=caption if isinstance(caption, str) else None,
            attributes=said.attributes,
            assets=(
                *(self._asset(file, refs[file.modality].path) for file in files),
                *stored_names(files, self._assets),
                self._assets.put(THUMBNAIL, small, THUMBNAIL_MEDIA_TYPE),
            ),
        )

    def _read(self, modality: str, file: ModalityFile) -> RawFile:
        return RawFile(modality, self._source.open(file.path), self._source.name(file.path), file.classes)

    def _asset(self, file: RawFile, ref: str) -> Asset:
        """A reference to the file where it is; a stored copy where it cannot be referred to."""
        path = self._source.local(ref)
        if path is None:
            return self._assets.put(file.modality, file.data, media_type(file.data))
        return reference(file.modality, path, media_type(file.data), file.sha256, len(file.data))


def _refs(said: Description) -> dict[str, ModalityFile]:
    """The files of an item by modality, its picture first."""
    assert said.file is not None
    return {PICTURE: ModalityFile(said.file), **said.modalities}


def _thumbnail(picture: Value) -> bytes:
    assert isinstance(picture, np.ndarray)
    return thumbnail(picture.astype(np.uint8, copy=False))
