"""A bucket, or a folder in one, as a source of all pictures below it, in path order.

The bucket is listed once and processed during the listing, so it may hold any number of files. A sidecar NAME.json
describes NAME.jpg as in a folder. Files named by a modality, such as NAME.depth.png, are used only if a sidecar names
them. To index a bucket with a manifest, give the manifest as the source.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from anyseek.indexer.errors import BadSource, InputVanished
from anyseek.indexer.paths import from_uri, is_picture_suffix, to_key, to_uri
from anyseek.indexer.samples import PICTURE
from anyseek.indexer.sources.base import Description, Source, SourceInput, json_object, parse_description, sidecar_of
from anyseek.indexer.sources.folder import MANIFEST
from anyseek.indexer.sources.storage import RemoteStorage
from anyseek.model.modalities.registry import resolve
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits


class BucketSource(Source):
    """The files below a folder of remote storage. A `ref` is a path below it.

    Raises `SourceGone` if it does not exist, `BadSource` if it has a manifest.
    """

    def __init__(self, storage: RemoteStorage, limits: Limits) -> None:
        self._storage, self._limits = storage, limits
        self.threads = storage.threads
        self.check()
        if storage.has(MANIFEST):
            manifest = f"{self.uri}/{MANIFEST}"
            raise BadSource(f"{self.uri} has a {MANIFEST}; index the manifest instead: anyseek index {manifest}")

    @property
    def uri(self) -> str:
        return self._storage.uri

    def check(self) -> None:
        self._storage.check()

    def scan(self) -> Iterator[SourceInput]:
        self.ignored = 0
        for _, group in groupby(self._storage.paths(), _stem):
            paths = list(group)
            pictures = [path for path in paths if _is_picture(path)]
            sidecars = {sidecar_of(path) for path in pictures}
            self.ignored += sum(path not in sidecars and not is_picture_suffix(path) for path in paths)
            yield from (self._input(path, sidecar_of(path) in paths) for path in pictures)
        self.check()

    def describe(self, uri: str) -> Description:
        return self._describe(from_uri(uri), True)

    def read(self, ref: str) -> bytes:
        return self._storage.read(ref)

    def _input(self, path: str, has_sidecar: bool) -> SourceInput:
        try:
            return SourceInput(to_uri(path), self._describe(path, has_sidecar).key or "")
        except BadInput as error:
            return SourceInput(to_uri(path), to_key(path), str(error), error.code)

    def _describe(self, path: str, may_have_sidecar: bool) -> Description:
        description = (self._read_sidecar(path) if may_have_sidecar else None) or Description()
        return replace(description, file=path, key=description.key or to_key(path))

    def _read_sidecar(self, path: str) -> Description | None:
        sidecar, base = sidecar_of(path), posixpath.dirname(path)
        try:
            data = self._storage.read(sidecar)
        except InputVanished:
            return None

        def resolve_path(written: str) -> str:
            return self._storage.resolve(posixpath.join(base, written))

        description = parse_description(json_object(data, to_uri(sidecar)), resolve_path, self._limits, to_uri(sidecar))
        return description if description.file in (None, path) else None


def _stem(path: str) -> str:
    """The path up to the first dot of its name. In sorted order, paths with the same stem are adjacent."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _is_picture(path: str) -> bool:
    """Whether a file is a picture by its name, and not a file of another modality."""
    suffix = posixpath.splitext(posixpath.splitext(path)[0])[1].removeprefix(".")
    try:
        is_other_modality = bool(suffix) and resolve(suffix).name != PICTURE
    except KeyError:
        is_other_modality = False
    return is_picture_suffix(path) and not is_other_modality
