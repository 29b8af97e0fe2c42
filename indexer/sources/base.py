"""The interface of a job's sources, and the descriptions of pictures.

One process scans a source once, in a stable order; every input becomes a row of the job's ledger before
work starts. Any process may then describe and read any input, given only the `uri` of its row.

A description is a sidecar, a line of a manifest, or a row of a table:

    {"file": "a.jpg",                 which picture; a sidecar may leave it out
     "key": "A1",                     the item's key; without it the path relative to the folder
     "caption": "a red bicycle",
     "attributes": {"year": 1987},    anything in JSON
     "modalities": {"depth": "a.depth.png",
                    "semseg": {"file": "a.regions.png", "classes": {"0": "sky"}}}}

All fields are optional, except `file` in a manifest. Unknown fields are ignored. Paths are relative to the folder
of the sidecar or manifest and stay inside the source folder.
"""

import json
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from anyseek.indexer.errors import BadAttributes, BadDescription, DecodeError
from anyseek.indexer.paths import one_line, resolve_inside, to_uri
from anyseek.model.json_reader import refuse_constant
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.reading.documents import parse_classes, parse_text
from anyseek.search.catalogue.items import KEYS, is_valid_key
from anyseek.search.settings import Limits
from anyseek.search.types import PREDICTED, TAUGHT, Attributes

LOCAL_THREADS = 1
PAGE = 500  # inputs per page
SIDECAR_SUFFIX = ".json"
ATTRIBUTE_BYTES = 65_536
ATTRIBUTE_DEPTH = 32
PICTURE = "rgb"  # the modality of the described file

# Resolves a path written in a description to a `ref` of the source; raises `OutsideFolder`.
ResolvePath = Callable[[str], str]


@dataclass(frozen=True)
class ModalityFile:
    """A file of another modality of an item: its `ref` in the source, and class names by id for a region map."""

    path: str
    classes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """The description of one picture; `file` is its `ref` in the source. `modalities` is keyed by canonical name."""

    file: str | None = None
    key: str | None = None
    caption: str | None = None
    attributes: Attributes = field(default_factory=dict)
    modalities: Mapping[str, ModalityFile] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, ModalityFile]:
        """All files by modality, the picture first. `file` must be set."""
        assert self.file is not None
        return {PICTURE: ModalityFile(self.file), **self.modalities}


@dataclass(frozen=True)
class SourceInput:
    """An input from a scan; one with a `reason` cannot be indexed.

    `description` is set if the scan had to read it.
    """

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None
    description: Description | None = None


class Source(ABC):
    """A source of inputs. Thread-safe, except that only one `scan` may run at a time.

    `threads` is the minimum number of inputs worth reading concurrently; higher if reading mostly waits.
    `ignored` counts the files of the last scan that are not inputs.
    """

    threads = LOCAL_THREADS
    ignored = 0

    @property
    @abstractmethod
    def uri(self) -> str:
        """The argument for `open_source` to open it again, on any machine that can reach it."""

    @abstractmethod
    def check(self) -> None:
        """Raises `SourceGone` unless the source exists, is readable and is still the same one."""

    @abstractmethod
    def scan(self) -> Iterator[SourceInput]:
        """Yield every input, with at most a page in memory. Raises `SourceGone`."""

    @abstractmethod
    def describe(self, uri: str) -> Description:
        """The description of an input, with `file` set. Raises `BadInput` if it is invalid."""

    @abstractmethod
    def read(self, ref: str) -> bytes:
        """The bytes of a file that a description names. Raises `InputError`, `TooManyBytes`."""

    def name(self, ref: str) -> str:
        """The name of a file in errors and content hashes."""
        return to_uri(ref)

    def state(self, ref: str) -> str | None:
        """A stamp (size and times) that changes with the file; None if unavailable, or if the file is too recent."""
        return None

    def local_path(self, ref: str) -> Path | None:
        """The file's path if an item may refer to it; None if a copy has to be stored."""
        return None

    def uri_at(self, location: str) -> str | None:
        """The uri of the input whose picture is at `location`, a result of `local_path`; None if unknown."""
        return None


def pages(inputs: Iterator[SourceInput]) -> Iterator[list[SourceInput]]:
    """Batches of up to `PAGE` inputs of a scan."""
    while page := list(islice(inputs, PAGE)):
        yield page


def sidecar_of(path: str) -> str:
    """The path that a picture's sidecar would have: `a.json` next to `a.jpg`."""
    return posixpath.splitext(path)[0] + SIDECAR_SUFFIX


def parse_description_in(fields: Mapping[str, Any], root: Path, base: str, limits: Limits, name: str) -> Description:
    """Parse a description whose paths are relative to the folder `base` below `root`; errors call it `name`.

    Raises `BadDescription`, and `OutsideFolder` for a path that leaves `root`.
    """
    return parse_description(fields, lambda path: resolve_inside(root, base, path), limits, name)


def parse_description(fields: Mapping[str, Any], resolve: ResolvePath, limits: Limits, name: str) -> Description:
    """Parse the fields of a description. Raises `BadDescription`, and what `resolve` raises."""
    try:
        attributes = _object_field(fields, "attributes")
        check_attributes(attributes, "the picture")
        return Description(
            file=resolve(_text_field(fields, "file")) if fields.get("file") is not None else None,
            key=_key_field(fields),
            caption=_caption_field(fields, limits),
            attributes=attributes,
            modalities=_modalities_field(fields, resolve),
        )
    except (DecodeError, BadAttributes, _BadField) as error:
        raise BadDescription(f"{name}: {error}") from error


def check_attributes(attributes: Attributes, name: str) -> None:
    """Raises `BadAttributes` if they are not JSON, too deep, too long, or have a reserved member.

    Errors call the item `name`.
    """
    for reserved, what in ((PREDICTED, "predicts"), (TAUGHT, "was taught")):
        if reserved in attributes:
            raise BadAttributes(
                f"the attributes of {name} have the member {reserved!r}, under which Anyseek keeps what it {what}; "
                "leave it out or give it another name"
            )
    check_size(attributes, name)


def check_size(attributes: Attributes, name: str) -> None:
    """Raises `BadAttributes` if attributes, given or predicted, are not JSON, too deep or too long."""
    if _depth_exceeds(attributes, ATTRIBUTE_DEPTH):
        raise BadAttributes(f"the attributes of {name} are nested more than {ATTRIBUTE_DEPTH} deep")
    try:
        length = len(json.dumps(attributes, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:  # a UnicodeEncodeError, for half a surrogate pair, is a ValueError
        raise BadAttributes(f"the attributes of {name} are not JSON of Unicode text and finite numbers") from error
    if length > ATTRIBUTE_BYTES:
        raise BadAttributes(f"the attributes of {name} have {length:,} bytes; at most {ATTRIBUTE_BYTES:,} are allowed")


class _BadField(Exception):
    """An invalid field; its message becomes the end of a `BadDescription`'s."""


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse `data` as a JSON object. Raises `BadDescription`."""
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadDescription(f"{name} is not JSON: {one_line(str(error))}") from error
    if not isinstance(value, dict):
        raise BadDescription(f'{name} is not a JSON object such as {{"caption": "a red bicycle"}}')
    return value


def _text_field(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise _BadField(f"the field {name!r} is {json.dumps(value)[:40]}; it must be a text")
    return value


def _key_field(fields: Mapping[str, Any]) -> str | None:
    if fields.get("key") is None:
        return None
    key = _text_field(fields, "key")
    if not is_valid_key(key):
        raise _BadField(f"the key {one_line(key[:80])!r} is not {KEYS}")
    return key


def _caption_field(fields: Mapping[str, Any], limits: Limits) -> str | None:
    """The caption; None if it is empty."""
    if fields.get("caption") is None or not _text_field(fields, "caption").strip():
        return None
    return parse_text(_text_field(fields, "caption"), limits, "the caption")


def _object_field(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _BadField(f"the field {name!r} is {json.dumps(value)[:40]}; it must be an object")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    """Whether a value is nested more than `limit` deep; the recursion stops there."""
    if not isinstance(value, dict | list):
        return False
    members = value.values() if isinstance(value, dict) else value
    return limit == 0 or any(_depth_exceeds(member, limit - 1) for member in members)


def _modalities_field(fields: Mapping[str, Any], resolve: ResolvePath) -> dict[str, ModalityFile]:
    files: dict[str, ModalityFile] = {}
    for name, value in _object_field(fields, "modalities").items():
        modality = known_modality(name)
        if modality.name == PICTURE or modality.name in files:
            raise _BadField(f"the modality {name!r} is given twice")
        if not modality.suffixes:
            raise _BadField(f"the modality {name!r} has no file form; leave it out")
        if modality.name == "caption" and fields.get("caption"):
            raise _BadField("the field 'caption' and a file of modality 'caption' are both given; keep one")
        files[modality.name] = _modality_file(name, value, resolve)
    return files


def _modality_file(name: str, value: Any, resolve: ResolvePath) -> ModalityFile:
    if isinstance(value, str):
        return ModalityFile(resolve(value))
    if not isinstance(value, dict) or not isinstance(value.get("file"), str):
        raise _BadField(
            f"the modality {name!r} is {json.dumps(value)[:40]}; it must be a path or an object with 'file'"
        )
    path = resolve(value["file"])
    return ModalityFile(path, parse_classes(_object_field(value, "classes"), to_uri(path)))
