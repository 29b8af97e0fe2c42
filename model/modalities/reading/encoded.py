"""The input and output of decoders: a file's bytes with its limits, and the decoded value with its interpretation."""

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.errors import (
    InputUnreadable,
    InputVanished,
    TooManyBytes,
    TooManyPixels,
    UnknownForm,
)

if TYPE_CHECKING:  # settings are read before NumPy is needed
    from anyseek.model.seam import Value

WORKING_SIDE = 512  # pixels; more than any model sees. Bounds the memory of a batch of decoded pictures


@dataclass(frozen=True)
class FileLimits:
    """The limits of one file's content; a file above them is refused, never truncated."""

    bytes_per_file: int = 64 * 1024 * 1024
    pixels: int = 100_000_000  # of a picture or a map, or numbers of an array
    text_characters: int = 10_000


@dataclass(frozen=True)
class EncodedFile:
    """A file's bytes before they are decoded, the same for queries, items and training data.

    `name` is what errors call the file, `classes` names the ids of a region map. Pictures and maps come with sides of
    at most `side` pixels, or as large as they are where `side` is None: training scales all maps of a sample together.
    `form` is the convention that the client named, such as `near-bright`; only `interpret` reads it. `budget` is
    the budget of the request.
    """

    data: bytes
    name: str
    limits: FileLimits = field(default_factory=FileLimits)
    classes: Mapping[int, str] = field(default_factory=dict)
    side: int | None = WORKING_SIDE
    budget: Budget | None = None
    form: str | None = None

    def take_pixels(self, count: int, described: str, cost: int = 1) -> None:
        """Check the declared pixel count of the file and charge it to the budget of the request.

        `described` is that count in words. The file takes `cost` times as long to decode as others of its size. Raises
        `TooManyPixels`, `RequestTooCostly`.
        """
        most = self.limits.pixels
        if count > most:
            raise TooManyPixels(f"{self.name} has {described}; at most {most:,} are allowed")
        if self.budget is not None:
            self.budget.take_pixels(self.name, cost * count)

    def without_budget(self) -> "EncodedFile":
        """The same file for a second decoder, since its pixels are charged only once."""
        return replace(self, budget=None)


@dataclass(frozen=True)
class Interpretation:
    """How one file was interpreted: its `name`, the `form` (convention) and a sentence with the reasons.

    `sure` is the accuracy of such guesses, from 0.5 to 1; 1 where nothing was guessed.
    """

    name: str
    form: str
    sure: float
    sentence: str


@dataclass(frozen=True)
class DecodedFile:
    """A file's value and its interpretation, which is None where the modality has one form only."""

    value: "Value"
    interpretation: Interpretation | None = None


def requested_form(file: EncodedFile, forms: Collection[str]) -> str | None:
    """The form that the client named, None for a guess. Raises `UnknownForm` for one not in `forms`."""
    if file.form is not None and file.form not in forms:
        raise UnknownForm(f"{file.name} has the form {file.form[:40]!r}; the forms are {', '.join(forms)}")
    return file.form


# Without O_NONBLOCK, opening a named pipe blocks until its other end is opened.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(path: Path, limits: FileLimits, name: str) -> bytes:
    """The whole content of a regular file; errors call it `name`.

    Raises `InputVanished`, `InputUnreadable`, `TooManyBytes`.
    """
    data = read_start(path, limits.bytes_per_file + 1, name)
    if len(data) > limits.bytes_per_file:
        raise TooManyBytes(f"{name} has more than {limits.bytes_per_file:,} bytes; that is the most allowed")
    return data


def read_start(path: Path, count: int, name: str) -> bytes:
    """The first `count` bytes of a regular file. Raises `InputVanished`, `InputUnreadable`."""
    with open_file(path, name) as handle:
        try:
            return handle.read(count)
        except OSError as error:
            raise InputUnreadable(f"{name} cannot be read: {error.strerror}") from error


def open_file(path: Path, name: str) -> BinaryIO:
    """Open a regular file for reading, with seeking. Raises `InputVanished`, `InputUnreadable`."""
    try:
        handle = os.fdopen(os.open(path, _FLAGS), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputVanished(f"{name} does not exist (any more)") from error
    except (OSError, ValueError) as error:  # a ValueError for a NUL in the path
        raise InputUnreadable(f"{name} cannot be read: {getattr(error, 'strerror', error)}") from error
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise InputUnreadable(f"{name} is not a regular file")
    return handle
