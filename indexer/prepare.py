"""One leased input: read, compared with what is held, decoded, its thumbnail stored. Runs in threads."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from indexer.decode import thumbnail
from indexer.descriptions import Description
from indexer.errors import BadDescription
from indexer.files import read_file
from indexer.kinds import media_type
from indexer.paths import check_inside, from_uri, is_utf8, to_key, to_uri
from indexer.pictures import THUMBNAIL_MEDIA_TYPE
from indexer.samples import CAPTION, PICTURE, THUMBNAIL, RawFile, content_hash, decode_all, sample_for
from indexer.sources import FolderSource
from model.embedder import Sample
from search.assets import AssetStore, reference
from search.catalogue.ledger import Lease
from search.errors import BadInput
from search.settings import Limits
from search.types import Asset, Attributes

# key -> content hash and source of the item that is held
Held = Mapping[str, tuple[str, int | None]]


@dataclass(frozen=True)
class Prepared:
    """Everything of an item but its vectors."""

    lease: Lease
    content_hash: str
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
    """Prepares inputs of one folder. Safe for several threads."""

    def __init__(
        self, source: FolderSource, source_id: int, assets: AssetStore, modalities: frozenset[str], limits: Limits
    ) -> None:
        self._source = source
        self._source_id = source_id
        self._assets = assets
        self._modalities = modalities
        self._limits = limits

    def prepare(self, lease: Lease, held: Held) -> Outcome:
        """What is to be done with an input. Raises `SourceGone` if the whole folder is gone."""
        try:
            return self._prepare(lease, from_uri(lease.uri), held)
        except BadInput as error:
            self._source.check()
            return Refused(lease, error.code, str(error))

    def _prepare(self, lease: Lease, path: str, held: Held) -> Outcome:
        said = self._source.describe(path)
        if (said.key or to_key(path)) != lease.key:
            raise BadDescription(f"{lease.uri} was given another key while it was read; index the folder again")
        files = self._read(path, said)
        digest = content_hash(files, said.caption, said.attributes)
        if held.get(lease.key) == (digest, self._source_id):
            return Unchanged(lease)
        values = decode_all(files, said.caption, self._limits)
        picture, caption = values[PICTURE], values.get(CAPTION)
        assert isinstance(picture, np.ndarray)
        small = self._assets.put(THUMBNAIL, thumbnail(picture.astype(np.uint8, copy=False)), THUMBNAIL_MEDIA_TYPE)
        return Prepared(
            lease=lease,
            content_hash=digest,
            sample=sample_for(values, self._modalities),
            caption=caption if isinstance(caption, str) else None,
            attributes=said.attributes,
            assets=(*(self._asset(file) for file in files), small),
        )

    def _read(self, path: str, said: Description) -> list[RawFile]:
        files = [RawFile(PICTURE, self._bytes(path), to_uri(path))]
        for modality, further in said.modalities.items():
            files.append(RawFile(modality, self._bytes(further.path), to_uri(further.path), further.classes))
        return files

    def _bytes(self, path: str) -> bytes:
        check_inside(self._source.root, path)
        return read_file(self._source.path(path), self._limits, to_uri(path))

    def _asset(self, file: RawFile) -> Asset:
        """A reference to the file where it is; a stored copy where its path is no text that can be kept."""
        path = self._source.path(from_uri(file.name))
        if not is_utf8(str(path)):
            return self._assets.put(file.modality, file.data, media_type(file.data))
        return reference(file.modality, path, file.data, media_type(file.data))
