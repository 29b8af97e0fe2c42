"""Texts without pictures, such as C4: one document per line, in plain files or JSON lines.

Files are read line by line; only the position of each document is kept in memory.
"""

import hashlib
import json
from array import array
from collections.abc import Sequence
from pathlib import Path

from anyseek.model.config import Config, Positive
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import BuildSettings, SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Split

_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


class TextOptions(Config):
    """`path` of the files, with `*` and `?` as wildcards in its last part; `licence` is one line.

    `field` is the key of the text in a JSON line. Longer documents are truncated to `characters`, at a space.
    """

    path: Path
    licence: str
    field: str = "text"
    characters: Positive = 2000


class TextsSource:
    """A source of captions without pictures. Keys are a file's name and the number of the document in it."""

    def __init__(self, name: str, options: TextOptions, settings: BuildSettings) -> None:
        """Index the lines of all files. Raises `SourceUnavailable`."""
        self.name, self.licence = name, options.licence
        self._options, self._shares = options, settings.shares
        paths = sorted(path for path in options.path.parent.glob(options.path.name) if path.is_file())
        self._folder, self._starts = options.path.parent, {path.name: _line_starts(path) for path in paths}
        documents = sum(map(len, self._starts.values()))
        if not documents:
            raise SourceUnavailable(f"no file that matches {options.path} has any text")
        lines = [f"{path.name} {path.stat().st_size} {len(self._starts[path.name])}" for path in paths]
        self.origin = f"{documents} texts, {hashlib.sha256(' '.join(lines).encode()).hexdigest()[:16]}"

    def keys(self, split: Split) -> Sequence[str]:
        keys = (f"{name}/{number:09d}" for name, starts in self._starts.items() for number in range(len(starts)))
        return [key for key in keys if self._shares.split_of(key) is split]

    def sample(self, key: str) -> DataSample:
        name, _, number = key.rpartition("/")
        path = self._folder / name
        try:
            with path.open("rb") as file:
                file.seek(self._starts[name][int(number)])
                text = _text(file.readline(), self._options.field if name.endswith(_JSON_ENDINGS) else None)
        except (OSError, ValueError) as error:
            raise SampleInvalid(f"line {number} of {path} cannot be read: {error}") from error
        most = self._options.characters
        if len(text) > most:
            text = text[: most + 1].rpartition(" ")[0] or text[:most]
        return DataSample(key, {"caption": (Caption(text, Origin.HUMAN),)}, {})


def _line_starts(path: Path) -> "array[int]":
    """The byte offsets of the lines that are not blank."""
    if path.suffix == ".gz":
        raise SourceUnavailable(f"{path} is compressed; gunzip it first")
    starts, offset = array("Q"), 0
    try:
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    starts.append(offset)
                offset += len(line)
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error}") from error
    return starts


def _text(line: bytes, field: str | None) -> str:
    """The text of a line, or of a field of its JSON, with single spaces. Raises `ValueError`."""
    text = line.decode("utf-8")
    if field is not None:
        members = json.loads(text)
        if not isinstance(members, dict) or not isinstance(members.get(field), str):
            raise ValueError(f"it has no text called {field!r}")
        text = members[field]
    words = " ".join(text.split())
    if not words:
        raise ValueError("it has no words")
    return words


TEXTS = SourceKind(TextsSource, TextOptions)
