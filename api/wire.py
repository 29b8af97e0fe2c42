"""A query and its answer as they travel: what the client, the command line and the service's JSON have in common.

Imports nothing heavy, so that a client starts at once.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.files import read_file
from search.settings import Limits

DEFAULT_HITS = 10
Where = str | Mapping[str, Any]  # a filter, written or as JSON


@dataclass(frozen=True)
class Part:
    """One piece of a query: a modality with exactly one of `text`, `file`, `data`, or the key of an `item`.

    `data` is the file's bytes; for captions and palettes the value itself (a text, a list of `#rrggbb`). `classes`
    names the ids of a segmentation map. A negative `weight` pushes away.
    """

    modality: str | None = None
    text: str | None = None
    file: Path | None = None
    data: bytes | str | Sequence[str] | None = None
    item: str | None = None
    weight: float = 1.0
    classes: Mapping[str, str] | None = None

    def to_json(self, limits: Limits) -> dict[str, Any]:
        """The part as the service takes it, its file read. Raises `InputError`, `TooManyBytes`."""
        return sent(vars(self), limits)


def query_body(
    parts: Sequence[Part], k: int, space: str | None, where: Where | None, fusion: str | None, limits: Limits
) -> dict[str, Any]:
    """A query as the service takes it, its files read. Raises `InputError`, `TooManyBytes`."""
    sent_parts = [part.to_json(limits) for part in parts]
    return {"parts": sent_parts, "k": k, "space": space, "where": where, "fusion": fusion}


def sent(members: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The members of a part, or of what a prediction is given, as JSON: `file` read, bytes as base64, no nulls.

    Raises `InputError`, `TooManyBytes`.
    """
    said = {name: value for name, value in members.items() if name != "file" and value is not None}
    if isinstance(said.get("data"), bytes):
        said["data"] = encode(said["data"])
    return said if members.get("file") is None else said | read_part_file(members["file"], limits)


def read_part_file(path: Path, limits: Limits) -> dict[str, Any]:
    """The members `data` and `name` that stand for a part's file. Raises `InputError`, `TooManyBytes`."""
    return {"data": encode(read_file(path, limits, str(path))), "name": str(path)}


def encode(data: bytes) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(data).decode("ascii")


@dataclass(frozen=True)
class Hit:
    """One answer: `score` is a cosine, higher is better; `rank` starts at 1."""

    key: str
    score: float
    rank: int
    caption: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    assets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The hits of one query, best first, the space they were found in, and how its parts became one vector.

    `fusion` is `joint` or `late`, None for a query of one part.
    """

    hits: tuple[Hit, ...]
    space: str
    fusion: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why one query of a batch has no hits."""

    error: str


def results_of(members: Mapping[str, Any]) -> Results:
    """Results from the JSON of one answer."""
    return Results(tuple(_hit_of(hit) for hit in members["hits"]), members["space"], members.get("fusion"))


def batch_of(answers: Sequence[Mapping[str, Any]]) -> list[Results | Refusal]:
    """Results or refusals from the JSON of a batch's answers, in its order."""
    return [Refusal(answer["error"]) if answer.get("error") else results_of(answer) for answer in answers]


def _hit_of(members: Mapping[str, Any]) -> Hit:
    known = {name: members[name] for name in ("key", "score", "rank", "caption", "attributes") if name in members}
    return Hit(**known, assets=tuple(members.get("assets", ())))
