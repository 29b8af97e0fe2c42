"""Tar shards in the WebDataset convention as a source: members with the same name up to its first dot form an item.

    KEY.jpg  .png  .webp …        the picture
    KEY.txt                       its caption
    KEY.json                      key, caption, label(s), attributes; other members become attributes
    KEY.cls                       the attribute `label`
    KEY.depth.png  KEY.normal.png   other modalities, by name

The members of an item follow each other, as the convention requires. They are read in order, starting at any member,
without a list of them: Python's own reader keeps one, and takes a truncated archive for one that ends there.
"""

import io
import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Self

from anyseek.indexer.errors import (
    BadDescription,
    BadSource,
    DecodeError,
    InputError,
    InputVanished,
    SourceGone,
    TooManyBytes,
)
from anyseek.indexer.paths import SHARD_SUFFIX, from_uri, is_picture_suffix, one_line, to_key, to_uri
from anyseek.indexer.samples import PICTURE
from anyseek.indexer.sources.base import Description, ModalityFile, Source, SourceInput, json_object, parse_description
from anyseek.indexer.sources.storage import Storage
from anyseek.indexer.sources.table import description_of_row
from anyseek.model.modalities.reading.documents import parse_text
from anyseek.model.modalities.registry import resolve
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits

_TEXTS = frozenset({"txt", "json", "cls"})
_FIELDS_OF_TABLES = ("file", "url", "modalities")  # the archive itself defines the files
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}", re.ASCII)
_MAX_SHARDS = 100_000
_MAX_MEMBERS = 64  # of one item
_MAX_NAME_BYTES = 65_536
# Extension headers, which are read whole: they have the names and attributes of the next member.
_EXTENSION_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class BadArchive(InputError):
    """The file is not a tar archive, or is damaged or truncated."""

    code = "bad-archive"


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, the offset of its header (`place`), and the offset and size of its data."""

    name: str
    place: int
    start: int
    size: int


class _Header(tarfile.TarInfo):
    """A header whose size is plausible; an extension header may have at most `_MAX_NAME_BYTES`."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSION_HEADERS and header.size > _MAX_NAME_BYTES):
            raise BadArchive("the name of a member is too long")
        return header


def members(stream: BinaryIO, length: int, place: int = 0) -> Iterator[Member]:
    """Yield the regular files from `place` on, in order. `length` is the size of the archive in bytes.

    Raises `BadArchive` where the archive cannot be read any further.
    """
    archive = _header_reader(stream)
    while not _is_end(stream, place):
        stream.seek(place)
        try:
            header = _Header.fromtarfile(archive)
        except (tarfile.TarError, ValueError, IndexError, RecursionError) as error:
            what = "it is not a tar archive (compressed archives cannot be read)"
            raise BadArchive(f"damaged at byte {place:,}" if place else what) from error
        if header.isreg():
            if not 0 <= header.size <= length - header.offset_data or header.issparse():
                raise BadArchive(f"the archive is cut off in {header.name!r}, or written in a format that is not read")
            yield Member(header.name, place, header.offset_data, header.size)
        place = max(archive.offset, header.offset_data)


def _header_reader(stream: BinaryIO) -> tarfile.TarFile:
    """A reader of headers only. It is opened on an empty stream, because opening reads the first member."""
    archive = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", encoding="utf-8", errors="surrogateescape")
    archive.fileobj = stream
    return archive


def _is_end(stream: BinaryIO, place: int) -> bool:
    """Whether the end-of-archive block is at `place`. Raises `BadArchive` if the archive is empty or cut off there."""
    stream.seek(place)
    block = stream.read(tarfile.BLOCKSIZE)
    if not block and not place:
        raise BadArchive("it is empty")
    if len(block) < tarfile.BLOCKSIZE and place:
        raise BadArchive("the archive is cut off: it has no end mark")
    return not any(block)


@dataclass(frozen=True)
class _Group:
    """The members of one item, which follow each other in a shard."""

    shard: str
    key: str
    members: Sequence[Member]

    @property
    def uri(self) -> str:
        return f"{to_uri(self.shard)}#{to_uri(self.key)}@{self.members[0].place}"


class TarSource(Source):
    """Shards in one folder. A `ref` is SHARD#NAME@START+SIZE.

    `pattern` is a file name with `*`, `?` or `{000..010}`. Raises `SourceGone` if no shard is there.
    """

    def __init__(self, storage: Storage, pattern: str, limits: Limits) -> None:
        self._storage, self._pattern, self._limits = storage, pattern, limits
        self.threads = storage.threads
        self._shards = tuple(_list_shards(storage, pattern))
        if not any(self._exists(shard) for shard in self._shards):
            raise SourceGone(f"there is no shard {self.uri}")

    @property
    def uri(self) -> str:
        return f"{self._storage.uri}/{to_uri(self._pattern)}"

    def check(self) -> None:
        self._storage.check()

    def scan(self) -> Iterator[SourceInput]:
        """Like `Source.scan`, one shard after the other. A shard that cannot be read to its end is reported."""
        self.ignored = 0
        for name in self._shards:
            yield from self._scan_shard(name)
        self.check()

    def describe(self, uri: str) -> Description:
        shard, key, place = _split(uri)
        with self._storage.stream(shard) as stream:
            for group in self._groups(stream, shard, int(place)):
                if group.key == key:
                    return self._describe(stream, group)
                break
        raise BadDescription(f"{to_uri(shard)} was changed while it was read; index it again")

    def read(self, ref: str) -> bytes:
        shard, name, place = _split(ref)
        start, size = map(int, place.split("+"))
        with self._storage.stream(shard) as stream:
            return self._content(stream, Member(name, start, start, size))

    def name(self, ref: str) -> str:
        shard, name, _ = _split(ref)
        return f"{to_uri(shard)}#{to_uri(name)}"

    def _exists(self, shard: str) -> bool:
        try:
            self._storage.version(shard)
        except InputVanished:
            return False
        return True

    def _scan_shard(self, shard: str) -> Iterator[SourceInput]:
        try:
            with self._storage.stream(shard) as stream:
                for group in self._groups(stream, shard):
                    source_input = self._input(stream, group)
                    if source_input is None:
                        self.ignored += len(group.members)
                    else:
                        yield source_input
        except BadInput as error:
            uri = to_uri(shard)
            yield SourceInput(uri, uri, f"{uri}: {error}", error.code)

    def _groups(self, stream: BinaryIO, shard: str, place: int = 0) -> Iterator[_Group]:
        """Yield the groups from `place` on. Raises `BadArchive` after the last readable one."""
        group: list[Member] = []
        length = stream.seek(0, 2)
        try:
            for member in members(stream, length, place):
                if group and (_key(member) != _key(group[0]) or len(group) > _MAX_MEMBERS):
                    yield _Group(shard, _key(group[0]), group)
                    group = []
                group.append(member)
        except BadArchive:
            if group:
                yield _Group(shard, _key(group[0]), group)
            raise
        if group:
            yield _Group(shard, _key(group[0]), group)

    def _input(self, stream: BinaryIO, group: _Group) -> SourceInput | None:
        """The input of a group; None if it has no picture."""
        try:
            description = self._describe(stream, group)
        except _NoPicture:
            return None
        except BadInput as error:
            return SourceInput(group.uri, to_key(group.key), str(error), error.code)
        return SourceInput(group.uri, description.key or "")

    def _describe(self, stream: BinaryIO, group: _Group) -> Description:
        """Describe an item by its members, with `file` and `key` set. Raises `BadDescription`, `_NoPicture`."""
        name = f"{to_uri(group.shard)}#{one_line(to_uri(group.key))}"
        if len(group.members) > _MAX_MEMBERS:
            raise BadDescription(f"{name}: more than {_MAX_MEMBERS} members share the name up to its first dot")
        files = _modality_files(group, name)
        if PICTURE not in files:
            raise _NoPicture(f"{name} has no picture")
        texts = {_suffix(member): member for member in group.members if _suffix(member) in _TEXTS}
        description = parse_description(self._fields(stream, texts, name), _refuse_path, self._limits, name)
        if "txt" in texts:
            description = replace(description, caption=self._caption(stream, texts["txt"], name) or description.caption)
        others = {kind: ModalityFile(_ref(group.shard, file)) for kind, file in files.items() if kind != PICTURE}
        key = description.key or to_key(group.key)
        return replace(description, file=_ref(group.shard, files[PICTURE]), key=key, modalities=others)

    def _fields(self, stream: BinaryIO, texts: dict[str, Member], name: str) -> dict[str, Any]:
        row = json_object(self._content(stream, texts["json"]), f"{name}.json") if "json" in texts else {}
        others = {column: row.pop(column) for column in _FIELDS_OF_TABLES if row.get(column) is not None}
        if "cls" in texts:
            row["label"] = self._content(stream, texts["cls"]).decode("utf-8", "replace").strip()
            row.pop("labels", None)
        fields = description_of_row(row, True, name)
        return {**fields, "attributes": {**fields["attributes"], **others}}

    def _caption(self, stream: BinaryIO, member: Member, name: str) -> str | None:
        try:
            text = self._content(stream, member).decode("utf-8")
            return parse_text(text, self._limits, f"{name}.txt") if text.strip() else None
        except (UnicodeDecodeError, DecodeError) as error:
            raise BadDescription(f"{name}.txt: {error}") from error

    def _content(self, stream: BinaryIO, member: Member) -> bytes:
        if member.size > self._limits.bytes_per_file:
            most = self._limits.bytes_per_file
            raise TooManyBytes(f"{to_uri(member.name)} has {member.size:,} bytes; at most {most:,} are allowed")
        stream.seek(member.start)
        data = stream.read(member.size)
        if len(data) < member.size:
            raise InputVanished(f"{to_uri(member.name)} was cut off while it was read")
        return data


class _NoPicture(BadDescription):
    """The group has no picture, so it is not an input."""


def _refuse_path(path: str) -> str:
    raise BadDescription(f"{path!r} cannot be named in a description; add the file to the archive as KEY.MODALITY.png")


def _modality_files(group: _Group, name: str) -> dict[str, Member]:
    """The members that are files of modalities, by modality. Raises `BadDescription` if a modality occurs twice."""
    files: dict[str, Member] = {}
    for member in group.members:
        modality = _modality(member)
        if modality in files:
            raise BadDescription(f"{name} has the modality {modality!r} twice; keep one of the files")
        if modality is not None:
            files[modality] = member
    return files


def _modality(member: Member) -> str | None:
    """The modality of a member by its suffix, such as `.jpg` or `.depth.png`; None if it has none."""
    kind, _, more = _suffix(member).partition(".")
    if not more:
        return PICTURE if is_picture_suffix(f"a.{kind}") else None
    try:
        modality = resolve(kind)
    except KeyError:
        return None
    return modality.name if modality.suffixes else None


def _key(member: Member) -> str:
    folder, slash, name = member.name.removeprefix("./").rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _suffix(member: Member) -> str:
    return member.name.rpartition("/")[2].partition(".")[2].lower()


def _ref(shard: str, member: Member) -> str:
    return f"{to_uri(shard)}#{to_uri(member.name)}@{member.start}+{member.size}"


def _split(uri: str) -> tuple[str, str, str]:
    """Split a uri or a ref into shard, name and place."""
    shard, _, rest = uri.partition(f"{SHARD_SUFFIX}#")
    name, _, place = rest.rpartition("@")
    return from_uri(shard + SHARD_SUFFIX), from_uri(name), place


def _list_shards(storage: Storage, pattern: str) -> list[str]:
    """The sorted names of the shards, including missing ones that a range names."""
    sizes = [int(high) - int(low) + 1 for low, high in _RANGE.findall(pattern)]
    if math.prod(max(size, 0) for size in sizes) > _MAX_SHARDS:
        raise BadSource(f"{pattern} matches more than {_MAX_SHARDS:,} shards, the most that can be indexed at once")
    names: set[str] = set()
    for name in _expand_ranges(pattern):
        names.update(storage.names(name) if set(name) & set("*?") else [name])
    return sorted(names)


def _expand_ranges(pattern: str) -> list[str]:
    """The names that a range such as `{000..010}` expands to."""
    low_high = _RANGE.search(pattern)
    if low_high is None:
        return [pattern]
    low, high = low_high.groups()
    before, after = pattern[: low_high.start()], pattern[low_high.end() :]
    numbers = [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return [name for number in numbers for name in _expand_ranges(f"{before}{number}{after}")]
