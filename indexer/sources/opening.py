"""Opens the source that a user names. What only some sources need is imported with them: a folder needs no HTTP."""

import os
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from anyseek.indexer.errors import BadSource, InputError, SourceGone
from anyseek.indexer.paths import SHARD_SUFFIX, is_picture_suffix, is_remote, to_uri
from anyseek.indexer.sources.base import Source
from anyseek.indexer.sources.folder import FolderSource
from anyseek.indexer.sources.rows import CsvTable, JsonLines, OpenFile, ParquetTable, Table, UrlLines
from anyseek.indexer.sources.storage import LocalStorage, RemoteStorage, Storage
from anyseek.search.settings import BadSetting, Settings

_TABLES: Mapping[str, Callable[[OpenFile, str], Table]] = {
    ".jsonl": JsonLines,
    ".csv": CsvTable,
    ".parquet": ParquetTable,
    ".txt": UrlLines,
}
_KINDS = "a folder, a table (.jsonl, .csv, .parquet), a list of URLs (.txt), shards (.tar), or a bucket (s3://…)"


def open_source(settings: Settings, name: str | Path) -> Source:
    """Open a folder, a table, a list of URLs, shards, or a bucket; the data directory in a folder is left out.

    Raises `SourceGone` if it does not exist, `BadSource` if it is not a source, `ExtraMissing`.
    """
    if is_remote(url := str(name)):
        folder, _, file = url.rstrip("/").rpartition("/")
        if not url.endswith("/") and posixpath.splitext(file)[1] in (*_TABLES, SHARD_SUFFIX):
            return _open_file(settings, RemoteStorage(folder, settings.limits), file)
        from anyseek.indexer.sources.bucket import BucketSource

        return BucketSource(RemoteStorage(url, settings.limits), settings.limits)
    path = Path(name).absolute()
    path = path.resolve() if posixpath.isfile(path) else path  # unlike Path.is_file, false for an impossible name
    if posixpath.isdir(path):
        if not _has_shards(path):
            return FolderSource(path, settings.limits, skip=settings.home)
        path = path / f"*{SHARD_SUFFIX}"
    if path.suffix not in (*_TABLES, SHARD_SUFFIX):
        if os.path.lexists(path):
            raise BadSource(f"{to_uri(str(path))} is not a source; a source is {_KINDS}")
        raise SourceGone(f"the folder {to_uri(str(path))} is gone")
    return _open_file(settings, LocalStorage(path.parent.resolve(), settings.limits), path.name)


def _open_file(settings: Settings, storage: Storage, file: str) -> Source:
    kind = posixpath.splitext(file)[1]
    storage.check()
    if kind == SHARD_SUFFIX:
        from anyseek.indexer.sources.tar import TarSource

        return TarSource(storage, file, settings.limits)
    from anyseek.indexer.sources.table import TableSource
    from anyseek.indexer.sources.web import Web, parse_networks

    try:
        web = Web(settings.limits, parse_networks(settings.url_networks))
    except ValueError as error:
        raise BadSetting(f"ANYSEEK_URL_NETWORKS is not a list of networks such as 10.0.0.0/8: {error}") from error
    try:
        table = _TABLES[kind](lambda: storage.stream(file), to_uri(file))
        return TableSource(storage, file, table, web, settings.limits)
    except InputError as error:
        raise SourceGone(f"{storage.uri}/{to_uri(file)} cannot be read: {error}") from error


def _has_shards(folder: Path) -> bool:
    """Whether there are shards and no pictures directly in it."""
    shards = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_picture_suffix(entry.name):
                    return False
                shards = shards or entry.name.endswith(SHARD_SUFFIX)
    except OSError:
        return False  # the folder's own source reports the error
    return shards
