"""What every function that reads a file takes: its bytes, and how much of them may be decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from anyseek.model.config_reader import Positive
from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.errors import TooManyPixels

WORKING_SIDE = 512  # no model looks closer; bounds what a batch of decoded pictures weighs


@dataclass(frozen=True)
class FileLimits:
    """The most that the content of one file may be; above it the file is refused, never cut."""

    bytes_per_file: Positive = 64 * 1024 * 1024
    pixels: Positive = 100_000_000  # of a picture or a map, or numbers of an array
    text_characters: Positive = 10_000


@dataclass(frozen=True)
class Encoded:
    """A file's bytes before they are decoded, the same for queries, items and training data.

    `name` is what errors call the file, `classes` names the ids of a region map. Pictures and maps come with sides of
    at most `side` pixels, or as large as they are where `side` is None: training scales all maps of a sample together.
    `form` is the convention that its sender named, such as `near-bright`, for whoever reads it by `understanding`.
    `budget` is that of the request with which the file came.
    """

    data: bytes
    name: str
    limits: FileLimits = field(default_factory=FileLimits)
    classes: Mapping[int, str] = field(default_factory=dict)
    side: int | None = WORKING_SIDE
    budget: Budget | None = None
    form: str | None = None

    def take_pixels(self, count: int, described: str) -> None:
        """Check the declared size of what is about to be decoded, and take it from the budget of the request.

        `described` is that size in words. Raises `TooManyPixels`, `RequestTooCostly`.
        """
        most = self.limits.pixels
        if count > most:
            raise TooManyPixels(f"{self.name} has {described}; at most {most:,} are allowed")
        if self.budget is not None:
            self.budget.take_pixels(self.name, count)

    def again(self) -> "Encoded":
        """The same file for whoever reads it another way, once its pixels have been taken from the budget."""
        return replace(self, budget=None)
