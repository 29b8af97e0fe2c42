"""Converts a prediction request from JSON, a form or Python into the values of a `PredictionRequest`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from api.contents import Upload, classes_from_json, sent_value, uploaded_value, weight_of_field
from api.errors import describe
from api.forms import divided
from api.predictions.schemas import (
    PredictBody,
    PredictOptionsBody,
    TargetOptionsBody,
    WantedBody,
)
from api.predictions.wire import Input
from api.unknown import adapter, explained
from model.modalities.reading.decode import known_modality
from model.seam import PredictOptions, TargetOptions, Value
from search.errors import BadQuery, LimitExceeded
from search.settings import Limits

B = TypeVar("B", bound=WantedBody)

LARGEST_WEIGHT = 100.0
_FORM_SETTINGS = (
    "targets",
    "model",
    "classes",
    *(name for name in PredictOptionsBody.model_fields if name != "targets"),
)


@dataclass(frozen=True)
class PredictionRequest:
    """A decoded request: values and targets by canonical name."""

    inputs: Mapping[str, Value]
    targets: tuple[str, ...]
    options: PredictOptions
    model: str | None = None


@dataclass(frozen=True)
class _Given:
    modality: str
    value: Value
    weight: float | None


def read_request(members: Any, limits: Limits) -> PredictionRequest:
    """Check and decode a request given as JSON members, whose inputs may already be wire types.

    Raises `BadQuery`, and what `request_from_wire` raises.
    """
    return request_from_wire(_validated(PredictBody, members), limits)


def request_from_wire(body: PredictBody, limits: Limits) -> PredictionRequest:
    """Read and decode a checked request. Raises `BadQuery`, `LimitExceeded`, `InputError`, `DecodeError`."""
    _check_count(len(body.inputs), limits)
    return _request([_input(given, limits, number) for number, given in enumerate(body.inputs, 1)], body)


def request_from_form(uploads: Sequence[Upload], limits: Limits) -> PredictionRequest:
    """A request from a form: a field for each input, its modality or `rgb:0.7` with a weight; `targets`, separated by
    commas; `model`, `classes`, and options by name. Raises as `request_from_wire` does.
    """
    settings, contents = divided(uploads, _FORM_SETTINGS)
    _check_count(len(contents), limits)
    classes = classes_from_json(settings.pop("classes"), limits) if "classes" in settings else None
    inputs = [_uploaded(upload, limits, classes) for upload in contents]
    targets = [name.strip() for name in settings.pop("targets", "").split(",") if name.strip()]
    model = settings.pop("model", None)
    return _request(inputs, _validated(WantedBody, {"targets": targets, "model": model, "options": settings}))


def _validated(kind: type[B], members: Any) -> B:
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise BadQuery(describe(explained(wrong, adapter(kind)))) from error


def _request(inputs: Sequence[_Given], body: WantedBody) -> PredictionRequest:
    if not inputs:
        raise BadQuery("a prediction needs an input, such as rgb or caption")
    names = [given.modality for given in inputs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadQuery(f"{twice[0]} is given twice; a prediction takes one input of each modality")
    targets = tuple(known_modality(name).name for name in body.targets)
    values = {given.modality: given.value for given in inputs}
    weights = {given.modality: given.weight for given in inputs if given.weight is not None}
    return PredictionRequest(values, targets, _options(body.options, weights), body.model)


def _options(body: PredictOptionsBody, weights: Mapping[str, float]) -> PredictOptions:
    heavy = [name for name, weight in weights.items() if abs(weight) > LARGEST_WEIGHT]
    if heavy:
        raise BadQuery(f"the weight of {heavy[0]} is outside -{LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}")
    single = {known_modality(name).name: TargetOptions(**_fields(options)) for name, options in body.targets.items()}
    return PredictOptions(**_fields(body) | {"targets": single, "weights": dict(weights)})


def _fields(body: TargetOptionsBody) -> dict[str, Any]:
    return {name: getattr(body, name) for name in type(body).model_fields}


def _input(given: Input, limits: Limits, number: int) -> _Given:
    contents = (given.text, given.file, given.data)
    if sum(content is not None for content in contents) != 1:
        raise BadQuery(f"input {number} needs exactly one of text and data")
    kind = known_modality(given.modality)
    return _Given(kind.name, sent_value(given, kind, f"input {number} ({given.modality})", limits), given.weight)


def _uploaded(upload: Upload, limits: Limits, classes: dict[int, str] | None) -> _Given:
    field, weight = weight_of_field(upload.field)
    kind = known_modality(field)
    return _Given(kind.name, uploaded_value(upload, kind, limits, classes), weight)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.parts:
        raise LimitExceeded(f"a prediction has at most {limits.parts} inputs; this one has {count}")
