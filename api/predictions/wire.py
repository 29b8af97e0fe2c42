"""Inputs and predictions, for Python callers and for the service's JSON.

Imports nothing heavy, so that a client starts at once.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from anyseek.api.queries.wire import to_json
from anyseek.search.json_types import ANSWER, STRICT, JsonType
from anyseek.search.settings import Limits

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Input:
    """One input: a modality with exactly one of `text` and `data`.

    In Python `data` may be bytes, and a `file` may replace it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    modality: str
    """such as rgb, caption, depth, metadata"""
    text: str | None = None
    """words, colours as #rrggbb,#rrggbb, or the JSON of boxes and the like"""
    file: Annotated[Path | None, JsonType(None)] = None
    """read by the client"""
    data: Annotated[bytes | str | Sequence[str] | None, JsonType(str | list[str] | None)] = None
    """the file's bytes, as base64 in JSON; for captions and palettes the value itself"""
    weight: float | None = None
    """how closely to follow this input; a negative weight pushes away, and null means plain conditioning"""
    classes: dict[str, str] | None = None
    """names of the ids of a segmentation map: {"0": "sky"}"""
    name: Annotated[str, JsonType(str, max_length=4096)] | None = None
    """the name that errors give it, such as the file's name"""
    form: str | None = None
    """the convention of a map, as in a query's part; by default that of files written by Anyseek"""
    box: Annotated[Sequence[float], JsonType(list[float], min_length=4, max_length=4)] | None = None
    """the part of a picture to predict from: left, top, right and bottom as fractions of its sides, 0 to 1"""


@dataclass(frozen=True)
class PredictedFile:
    """One file of a prediction."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    name: str
    """without a folder, such as depth.png"""
    media_type: str
    data: Annotated[bytes, JsonType(str)]
    """base64 in JSON"""


@dataclass(frozen=True)
class Guess:
    """Words that may fit a picture."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    text: str
    probability: float
    """how likely they fit, 0 to 1"""


@dataclass(frozen=True)
class Predicted:
    """One predicted modality."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    modality: str
    value: Any
    """a text or numbers; null for pictures and maps, which are files"""
    files: tuple[PredictedFile, ...]
    confidence: float | None = None
    """how likely the value fits the picture it was predicted from, 0 to 1; null where the model cannot tell"""
    sure: bool | None = None
    """whether the model is confident; if false, the value is only its best guess"""
    guesses: tuple[Guess, ...] = ()
    """alternatives, the likeliest first"""


@dataclass(frozen=True)
class Refused:
    """A target that the model does not predict, and why."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    modality: str
    detail: str
    """one sentence for a person"""


@dataclass(frozen=True)
class Predictions:
    """What a model predicted, in the requested order, and the targets that it does not predict."""

    # The JSON member of `predicted` is `predictions`.
    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER | {
        "alias_generator": lambda name: "predictions" if name == "predicted" else name,
        "validate_by_name": True,
    }

    model: str
    predicted: tuple[Predicted, ...]
    refused: tuple[Refused, ...] = ()
    """targets that the model does not predict"""


def prediction_json(
    inputs: Sequence[Input],
    targets: Sequence[str],
    model: str | None,
    options: Mapping[str, Any] | None,
    limits: Limits,
) -> dict[str, Any]:
    """The JSON of a request; `options` as docs/predicting.md lists them. Raises `InputError`, `TooManyBytes`."""
    sent = [to_json(vars(given), limits) for given in inputs]
    members = {"inputs": sent, "targets": list(targets), "options": options or {}}
    return members if model is None else {**members, "model": model}


def predictions_of(members: Mapping[str, Any]) -> Predictions:
    """Predictions from the JSON of an answer."""
    predicted = tuple(_predicted_of(prediction) for prediction in members["predictions"])
    refused = tuple(Refused(refusal["modality"], refusal["detail"]) for refusal in members["refused"])
    return Predictions(members["model"], predicted, refused)


def _predicted_of(members: Mapping[str, Any]) -> Predicted:
    files = [
        PredictedFile(file["name"], file["media_type"], base64.b64decode(file["data"])) for file in members["files"]
    ]
    guesses = tuple(Guess(guess["text"], guess["probability"]) for guess in members.get("guesses", ()))
    return Predicted(
        members["modality"], members["value"], tuple(files), members.get("confidence"), members.get("sure"), guesses
    )
