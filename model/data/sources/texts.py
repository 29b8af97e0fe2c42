"""Texts without pictures, such as C4: one document per line, in plain files or JSON lines, optionally compressed.

Files are read line by line and never held in memory; only each document's position is kept. A compressed file cannot be
read from the middle, so it is unpacked once, below the data directory.
"""

import gzip
import hashlib
import json
import shutil
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.config import Config, Positive
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import Place, SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Split
from anyseek.model.files import whole_file

_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
_PACKED = ".gz"


class TextOptions(Config):
    """`path` of the files, with `*` and `?` as wildcards in its last part; `licence` is one line.

    `field` is the key of the text in a JSON line. Longer documents are cut after the first `characters`, at a space.
    """

    path: Path
    licence: str
    field: str = "text"
    characters: Positive = 2000


@dataclass(frozen=True)
class _File:
    """A file, where it can be read in the middle, and where its lines begin that are not blank (bytes)."""

    path: Path
    plain: Path
    starts: "array[int]"


class TextsSource:
    """Keys are a file's name and the number of the document in it."""

    def __init__(self, name: str, options: TextOptions, place: Place) -> None:
        """Looks for lines in all files. Raises `SourceUnavailable`."""
        self.name, self.licence = name, options.licence
        self._options, self._shares = options, place.shares
        paths = sorted(path for path in options.path.parent.glob(options.path.name) if path.is_file())
        self._files = {path.name: _read_file(path, place.home) for path in paths}
        documents = sum(len(file.starts) for file in self._files.values())
        if not documents:
            raise SourceUnavailable(f"no file that matches {options.path} has any text")
        lines = [f"{path.name} {path.stat().st_size} {len(self._files[path.name].starts)}" for path in paths]
        self.origin = f"{documents} texts, {hashlib.sha256(' '.join(lines).encode()).hexdigest()[:16]}"

    def keys(self, split: Split) -> Sequence[str]:
        every = (f"{name}/{number:09d}" for name, file in self._files.items() for number in range(len(file.starts)))
        return [key for key in every if self._shares.split_of(key) is split]

    def sample(self, key: str) -> DataSample:
        name, _, number = key.rpartition("/")
        file = self._files[name]
        try:
            with file.plain.open("rb") as opened:
                opened.seek(file.starts[int(number)])
                is_json = file.path.name.removesuffix(_PACKED).endswith(_JSON_ENDINGS)
                text = _text(opened.readline(), self._options.field if is_json else None)
        except (OSError, ValueError) as error:
            raise SampleInvalid(f"line {number} of {file.path} cannot be read: {error}") from error
        most = self._options.characters
        if len(text) > most:
            text = text[: most + 1].rpartition(" ")[0] or text[:most]
        return DataSample(key, {"caption": (Caption(text, Origin.HUMAN),)}, {})


def _read_file(path: Path, home: Path) -> _File:
    try:
        plain = _unpacked(path, home / "downloads" / "texts") if path.name.endswith(_PACKED) else path
        starts, place = array("Q"), 0
        with plain.open("rb") as opened:
            for line in opened:
                if line.strip():
                    starts.append(place)
                place += len(line)
    except (OSError, EOFError, zlib.error) as error:  # gzip raises all three
        raise SourceUnavailable(f"{path} cannot be read: {error}") from error
    return _File(path, plain, starts)


def _unpacked(path: Path, folder: Path) -> Path:
    """What is in a compressed file, as a file that appears whole or not at all; one that is there is taken."""
    about = path.stat()
    named = hashlib.sha256(f"{path.absolute()} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:16]
    plain = folder / f"{named}.txt"
    if not plain.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(plain) as temporary, gzip.open(path) as packed, temporary.open("wb") as written:
            shutil.copyfileobj(packed, written)
    return plain


def _text(line: bytes, field: str | None) -> str:
    """The words of a line, single spaces between them. Raises `ValueError`."""
    written = line.decode("utf-8")
    if field is not None:
        members = json.loads(written)
        if not isinstance(members, dict) or not isinstance(members.get(field), str):
            raise ValueError(f"it has no text called {field!r}")
        written = members[field]
    words = " ".join(written.split())
    if not words:
        raise ValueError("it has no words")
    return words


TEXTS = SourceKind(TextsSource, TextOptions)
