"""The interface of a job's sources, and the descriptions of pictures that they read.

A source is scanned once, in a stable order, by one process; every input found becomes a row of the job's ledger before
work starts. Any process may then describe and open any input by the `uri` of that row alone.

A description is a sidecar, a line of a manifest, or a row of a table:

    {"file": "a.jpg",                 which picture; a sidecar may leave it out
     "key": "A1",                     the item's key; without it the path relative to the folder
     "caption": "a red bicycle",
     "attributes": {"year": 1987},    anything in JSON
     "modalities": {"depth": "a.depth.png",
                    "semseg": {"file": "a.regions.png", "classes": {"0": "sky"}}}}

All fields are optional but `file` in a manifest; others are left to other tools. Paths are relative to the folder
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
from anyseek.indexer.paths import inside, one_line, to_uri
from anyseek.model.json_reader import refuse_constant
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.reading.documents import parse_classes, parse_text
from anyseek.search.catalogue.items import KEYS, is_key
from anyseek.search.settings import Limits
from anyseek.search.types import PREDICTED, Attributes

LOCAL_THREADS = 1
PAGE = 500  # inputs that are looked at together
SIDECAR_SUFFIX = ".json"
ATTRIBUTE_BYTES = 65_536
ATTRIBUTE_DEPTH = 32
PICTURE = "rgb"  # the modality of the file that is described

# Resolves a path as it is written to a file's place in the source; raises `OutsideFolder`.
Resolve = Callable[[str], str]


@dataclass(frozen=True)
class ModalityFile:
    """A further file of an item: where in its source it is, and names of its ids for a region map."""

    path: str
    classes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """The description of one picture; `file` is its place in the source. Keys of `modalities` are canonical names."""

    file: str | None = None
    key: str | None = None
    caption: str | None = None
    attributes: Attributes = field(default_factory=dict)
    modalities: Mapping[str, ModalityFile] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, ModalityFile]:
        """All files by modality, the picture first; it must be known."""
        assert self.file is not None
        return {PICTURE: ModalityFile(self.file), **self.modalities}


@dataclass(frozen=True)
class Found:
    """An input that a scan found; one with a `reason` cannot be indexed.

    `description` is known where the scan had to read it anyway.
    """

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None
    description: Description | None = None


class Source(ABC):
    """A source of inputs. Safe for several threads, but for `scan`, of which one runs at a time.

    `threads` is the least number of inputs worth reading at once; higher where most of the time is spent waiting.
    `ignored` is the number of files in the last scan that are not inputs.
    """

    threads = LOCAL_THREADS
    ignored = 0

    @property
    @abstractmethod
    def uri(self) -> str:
        """A text by which `open_source` opens it again, on any machine that can reach it."""

    @abstractmethod
    def check(self) -> None:
        """Raises `SourceGone` unless the source is there, readable, and the one it was at first."""

    @abstractmethod
    def scan(self) -> Iterator[Found]:
        """Find every input, with at most a page in memory. Raises `SourceGone`."""

    @abstractmethod
    def describe(self, uri: str) -> Description:
        """The description of an input; `file` is its picture. Raises `BadInput` if it cannot be understood."""

    @abstractmethod
    def open(self, ref: str) -> bytes:
        """The bytes of a file that a description names. Raises `InputError`, `TooManyBytes`."""

    def name(self, ref: str) -> str:
        """The name of that file in errors and content hashes."""
        return to_uri(ref)

    def state(self, ref: str) -> str | None:
        """A text that changes with the file, had without reading it; None where there is none, or not yet."""
        return None

    def local(self, ref: str) -> Path | None:
        """The file's path if it can be referred to; None if a copy has to be stored."""
        return None

    def input_at(self, location: str) -> str | None:
        """The uri of the input whose picture lies at `location`, a path that `local` gave; None if that is unknown."""
        return None


def pages(found: Iterator[Found]) -> Iterator[list[Found]]:
    """The inputs of a scan in pages."""
    while page := list(islice(found, PAGE)):
        yield page


def sidecar_of(path: str) -> str:
    """The path of a picture's sidecar, if it has one: `a.json` next to `a.jpg`."""
    return posixpath.splitext(path)[0] + SIDECAR_SUFFIX


def describe_in(fields: Mapping[str, Any], root: Path, base: str, limits: Limits, name: str) -> Description:
    """Read a description written in the folder `base` below `root`; `name` is what errors call it.

    Raises `BadDescription`, and `OutsideFolder` for a path that leaves `root`.
    """
    return read_fields(fields, lambda path: inside(root, base, path), limits, name)


def read_fields(fields: Mapping[str, Any], resolve: Resolve, limits: Limits, name: str) -> Description:
    """Read a description whose JSON is parsed. Raises `BadDescription`, and what `resolve` raises."""
    try:
        attributes = _object(fields, "attributes")
        check_attributes(attributes, "the picture")
        return Description(
            file=resolve(_text(fields, "file")) if fields.get("file") is not None else None,
            key=_key(fields),
            caption=_caption(fields, limits),
            attributes=attributes,
            modalities=_modalities(fields, resolve),
        )
    except (DecodeError, BadAttributes, _BadField) as error:
        raise BadDescription(f"{name}: {error}") from error


def check_attributes(attributes: Attributes, name: str) -> None:
    """Raises `BadAttributes` if they are not JSON, too deep, too long, or have the member that predictions have.

    Errors call their holder `name`.
    """
    if PREDICTED in attributes:
        raise BadAttributes(
            f"the attributes of {name} have the member {PREDICTED!r}, under which Anyseek keeps what it predicts; "
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
    """What is wrong with a field, as the end of the message of a `BadDescription`."""


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The object that `data` is. Raises `BadDescription`."""
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadDescription(f"{name} is not JSON: {one_line(str(error))}") from error
    if not isinstance(value, dict):
        raise BadDescription(f'{name} is not a JSON object such as {{"caption": "a red bicycle"}}')
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise _BadField(f"the field {name!r} is {json.dumps(value)[:40]}; it must be a text")
    return value


def _key(fields: Mapping[str, Any]) -> str | None:
    if fields.get("key") is None:
        return None
    key = _text(fields, "key")
    if not is_key(key):
        raise _BadField(f"the key {one_line(key[:80])!r} is not {KEYS}")
    return key


def _caption(fields: Mapping[str, Any], limits: Limits) -> str | None:
    """The caption; None if it is empty."""
    if fields.get("caption") is None or not _text(fields, "caption").strip():
        return None
    return parse_text(_text(fields, "caption"), limits, "the caption")


def _object(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _BadField(f"the field {name!r} is {json.dumps(value)[:40]}; it must be an object")
    return value


def _depth_exceeds(value: Any, most: int) -> bool:
    """Whether a value is deeper than the limit; the search stops there."""
    if not isinstance(value, dict | list):
        return False
    below = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_depth_exceeds(member, most - 1) for member in below)


def _modalities(fields: Mapping[str, Any], resolve: Resolve) -> dict[str, ModalityFile]:
    found: dict[str, ModalityFile] = {}
    for name, value in _object(fields, "modalities").items():
        modality = known_modality(name)
        if modality.name == PICTURE or modality.name in found:
            raise _BadField(f"the modality {name!r} is given twice")
        if not modality.suffixes:
            raise _BadField(f"the modality {name!r} is not kept in a file")
        if modality.name == "caption" and fields.get("caption"):
            raise _BadField("there is a field 'caption' and a file of modality 'caption'; give one")
        found[modality.name] = _modality_file(name, value, resolve)
    return found


def _modality_file(name: str, value: Any, resolve: Resolve) -> ModalityFile:
    if isinstance(value, str):
        return ModalityFile(resolve(value))
    if not isinstance(value, dict) or not isinstance(value.get("file"), str):
        raise _BadField(
            f"the modality {name!r} is {json.dumps(value)[:40]}; it must be a path or an object with 'file'"
        )
    path = resolve(value["file"])
    return ModalityFile(path, parse_classes(_object(value, "classes"), to_uri(path)))
