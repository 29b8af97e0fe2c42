"""From what was sent, as JSON or as uploaded files, to the values of a `PredictionRequest`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from api.errors import describe
from api.parts import Upload, classes_from_json, sent_data, value_of, weight_of_field
from api.prediction_schemas import (
    InputBody,
    PredictBody,
    PredictOptionsBody,
    TargetOptionsBody,
    WantedBody,
)
from indexer.decode import known_modality, parse_classes
from model.embedder import Value
from model.prediction import PredictOptions, TargetOptions
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


def request_from_json(members: Any, limits: Limits) -> PredictionRequest:
    """Decode a request from JSON members. Raises `BadQuery`, `LimitExceeded`, `DecodeError`, `PredictionInvalid`."""
    return request_of(_validated(PredictBody, members), limits)


def request_of(body: PredictBody, limits: Limits) -> PredictionRequest:
    """Decode a request. Raises `BadQuery`, `LimitExceeded`, `DecodeError`, `PredictionInvalid`."""
    _check_count(len(body.inputs), limits)
    return _request([_input(one, limits, number) for number, one in enumerate(body.inputs, 1)], body)


def request_from_uploads(uploads: Sequence[Upload], limits: Limits) -> PredictionRequest:
    """A request from a form: a field for each input, its modality or `rgb:0.7` with a weight; `targets`, separated by
    commas; `model`, `classes`, and options by name. Raises as `request_from_json` does.
    """
    settings = {one.field: str(one.content) for one in uploads if one.field in _FORM_SETTINGS}
    contents = [one for one in uploads if one.field not in _FORM_SETTINGS]
    _check_count(len(contents), limits)
    classes = classes_from_json(settings.pop("classes")) if "classes" in settings else None
    inputs = [_upload(one, limits, classes) for one in contents]
    targets = [name.strip() for name in settings.pop("targets", "").split(",") if name.strip()]
    model = settings.pop("model", None)
    return _request(inputs, _validated(WantedBody, {"targets": targets, "model": model, "options": settings}))


def _validated(kind: type[B], members: Any) -> B:
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        raise BadQuery(describe(error.errors(include_url=False, include_input=False))) from error


def _request(inputs: Sequence[_Given], body: WantedBody) -> PredictionRequest:
    if not inputs:
        raise BadQuery("a prediction needs an input, such as rgb or caption")
    names = [one.modality for one in inputs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadQuery(f"{twice[0]} is given twice; a prediction takes one input of each modality")
    targets = tuple(known_modality(name).name for name in body.targets)
    values = {one.modality: one.value for one in inputs}
    weights = {one.modality: one.weight for one in inputs if one.weight is not None}
    return PredictionRequest(values, targets, _options(body.options, weights), body.model)


def _options(body: PredictOptionsBody, weights: Mapping[str, float]) -> PredictOptions:
    heavy = [name for name, weight in weights.items() if abs(weight) > LARGEST_WEIGHT]
    if heavy:
        raise BadQuery(f"the weight of {heavy[0]} is not from -{LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}")
    single = {known_modality(name).name: TargetOptions(**_fields(one)) for name, one in body.targets.items()}
    return PredictOptions(**_fields(body) | {"targets": single, "weights": dict(weights)})


def _fields(body: TargetOptionsBody) -> dict[str, Any]:
    return {name: getattr(body, name) for name in type(body).model_fields}


def _input(body: InputBody, limits: Limits, number: int) -> _Given:
    if (body.text is None) == (body.data is None):
        raise BadQuery(f"input {number} needs exactly one of text and data")
    kind = known_modality(body.modality)
    name = body.name or f"input {number} ({body.modality})"
    classes = parse_classes(body.classes, name) if body.classes else None
    content = body.text if body.text is not None else sent_data(body.data, kind.content, name)
    return _Given(kind.name, value_of(kind.name, content, limits, name, classes), body.weight)


def _upload(upload: Upload, limits: Limits, classes: dict[int, str] | None) -> _Given:
    field, weight = weight_of_field(upload.field)
    kind = known_modality(field)
    value = value_of(kind.name, upload.content, limits, upload.filename or f"the field {field}", classes)
    return _Given(kind.name, value, weight)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.parts:
        raise LimitExceeded(f"a prediction has at most {limits.parts} inputs; this one has {count}")
