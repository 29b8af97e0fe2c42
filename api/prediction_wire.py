"""What is predicted as it travels: what the client, the command line and the service's JSON have in common.

Imports nothing heavy, so that a client starts at once.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.wire import sent
from search.settings import Limits


@dataclass(frozen=True)
class Input:
    """One input: a modality with exactly one of `text`, `file` and `data`.

    `data` is the file's bytes; for captions and palettes the value itself. `weight` is how far to follow it, negative
    leads away, None is as it is. `classes` names the ids of a segmentation map.
    """

    modality: str
    text: str | None = None
    file: Path | None = None
    data: bytes | str | Sequence[str] | None = None
    weight: float | None = None
    classes: Mapping[str, str] | None = None

    def to_json(self, limits: Limits) -> dict[str, Any]:
        """The input as the service takes it, its file read. Raises `InputError`, `TooManyBytes`."""
        return sent(vars(self), limits)


@dataclass(frozen=True)
class PredictedFile:
    """One file of a prediction; `name` has no folder in it."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True)
class Predicted:
    """One predicted modality: its `value` where that is a text or numbers, None for pictures and maps; its files."""

    modality: str
    value: Any
    files: tuple[PredictedFile, ...]


@dataclass(frozen=True)
class Refused:
    """A target that the model does not predict, and why."""

    modality: str
    detail: str


@dataclass(frozen=True)
class Predictions:
    """What `model` predicted, in the order asked for, and what it does not predict."""

    model: str
    predicted: tuple[Predicted, ...]
    refused: tuple[Refused, ...] = ()


def prediction_body(
    inputs: Sequence[Input],
    targets: Sequence[str],
    model: str | None,
    options: Mapping[str, Any] | None,
    limits: Limits,
) -> dict[str, Any]:
    """The JSON of a request; `options` as docs/predicting.md lists them. Raises `InputError`, `TooManyBytes`."""
    members = {"inputs": [one.to_json(limits) for one in inputs], "targets": list(targets), "options": options or {}}
    return members if model is None else {**members, "model": model}


def predictions_of(members: Mapping[str, Any]) -> Predictions:
    """Predictions from the JSON of an answer."""
    predicted = tuple(_predicted(one) for one in members["predictions"])
    refused = tuple(Refused(one["modality"], one["detail"]) for one in members["refused"])
    return Predictions(members["model"], predicted, refused)


def _predicted(members: Mapping[str, Any]) -> Predicted:
    files = [PredictedFile(one["name"], one["media_type"], base64.b64decode(one["data"])) for one in members["files"]]
    return Predicted(members["modality"], members["value"], tuple(files))
