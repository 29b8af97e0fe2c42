"""Prediction requests: their JSON schema, and decoding of JSON, forms and Python values to a `PredictionRequest`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, FiniteFloat, ValidationError

from anyseek.api.contents import (
    Upload,
    check_map_fields,
    content_reading,
    content_value,
    forms_from_json,
    parse_class_names,
    split_weight,
)
from anyseek.api.errors import describe
from anyseek.api.forms import parse_numbers, split_fields
from anyseek.api.http.did_you_mean import adapter, add_suggestions
from anyseek.api.predictions.wire import MAX_SEED, Input
from anyseek.api.schemas import Body
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import PredictOptions, TargetOptions, Value
from anyseek.search.assets.pictures import PICTURE
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.settings import Limits

B = TypeVar("B", bound="PredictBaseBody")

MAX_WEIGHT = 100.0
MAX_TARGETS = 32
_EXAMPLE: dict[str, Any] = {
    "model": "4M-21_B",
    "inputs": [{"modality": "rgb", "data": "iVBORw0KGgo…"}, {"modality": "caption", "text": "a red bus"}],
    "targets": ["depth", "color_palette"],
    "options": {"seed": 1, "targets": {"depth": {"steps": 8}}},
}


Steps = Annotated[int, Field(ge=1, le=1024, description="in how many steps its tokens are decoded")]
Temperature = Annotated[FiniteFloat, Field(ge=0, le=1000, description="0 takes the likeliest tokens")]
TemperatureSchedule = Annotated[str, Field(max_length=100, description="constant, linear or onex:<min>:<power>")]
Guidance = Annotated[
    FiniteFloat, Field(ge=-100, le=100, description="1 is as trained; a larger value follows the inputs more closely")
]


class TargetOptionsBody(Body):
    """Options of decoding a target; omitted ones get the modality's default."""

    scheme: Literal["roar", "maskgit"] | None = None
    steps: Steps | None = None
    token_schedule: Literal["linear", "cosine"] | None = None
    temperature: Temperature | None = None
    temperature_schedule: TemperatureSchedule | None = None
    guidance: Guidance | None = None
    top_p: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    top_k: (
        Annotated[
            int | FiniteFloat, Field(ge=0, description="a count (50), or a share written with a decimal point (0.5)")
        ]
        | None
    ) = None


class PredictOptionsBody(TargetOptionsBody):
    """Options of predicting all targets; `targets` has options of single targets."""

    targets: dict[str, TargetOptionsBody] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = 0
    decoding_steps: Annotated[int, Field(ge=1, le=1000, description="of the diffusion that makes pixels")] = 25
    diffusion: Literal["ddpm", "ddim"] | None = None
    super_resolution: Annotated[bool, Field(description="448 instead of 224 pixels, with a second network")] = False
    points: Annotated[int, Field(ge=0, le=32, description="predict sam_instance for points x points places")] = 0


class PredictBaseBody(Body):
    """A request for predictions."""

    targets: list[str] = Field(min_length=1, max_length=MAX_TARGETS, examples=[["depth", "caption"]])
    model: str | None = Field(None, description="an installed model; by default the service's own")
    options: PredictOptionsBody = PredictOptionsBody()


class PredictBody(PredictBaseBody):
    """A prediction request: the inputs, and what to predict."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    inputs: list[Input] = Field(min_length=1)


_FORM_SETTINGS = (
    "targets",
    "model",
    "classes",
    "forms",
    "box",
    *(name for name in PredictOptionsBody.model_fields if name != "targets"),
)


@dataclass(frozen=True)
class PredictionRequest:
    """A decoded request: values and targets by canonical name."""

    inputs: Mapping[str, Value]
    targets: tuple[str, ...]
    options: PredictOptions
    model: str | None = None


def read_request(members: Any, limits: Limits) -> PredictionRequest:
    """Validate and decode a request given as JSON members, whose inputs may already be wire types.

    Raises `BadQuery`, and what `request_from_wire` raises.
    """
    return request_from_wire(_validate(PredictBody, members), limits)


def request_from_wire(body: PredictBody, limits: Limits) -> PredictionRequest:
    """Decode a validated request. Raises `BadQuery`, `LimitExceeded`, `InputError`, `DecodeError`."""
    return _decode_request(body.inputs, body, limits)


def request_from_form(uploads: Sequence[Upload], limits: Limits) -> PredictionRequest:
    """A request from a form: a field for each input, its modality or `rgb:0.7` with a weight; `targets`, separated by
    commas; `model`, `classes`, and options by name. Raises as `request_from_wire` does.
    """
    settings, contents = split_fields(uploads, _FORM_SETTINGS)
    _check_count(len(contents), limits)
    forms = forms_from_json(settings.pop("forms"), limits) if "forms" in settings else {}
    classes = parse_class_names(settings.pop("classes"), limits) if "classes" in settings else None
    box = parse_numbers(Upload("box", settings.pop("box"))) if "box" in settings else None
    check_map_fields(classes, forms, contents)
    inputs = []
    for upload in contents:
        field, weight = split_weight(upload.field)
        kind, name = known_modality(field), upload.filename or f"the field {field}"
        inputs.append(
            Input(
                kind.name,
                text=upload.content if isinstance(upload.content, str) else None,
                data=upload.content if isinstance(upload.content, bytes) else None,
                weight=weight,
                classes=classes if kind.content is Content.REGIONS else None,
                name=name,
                form=forms.get(kind.name),
                box=box if kind.name == PICTURE else None,
            )
        )
    if box is not None and all(given.modality != PICTURE for given in inputs):
        raise BadQuery("the form has a box, but no picture; a box is of a picture")
    targets = [name.strip() for name in settings.pop("targets", "").split(",") if name.strip()]
    model = settings.pop("model", None)
    body = _validate(PredictBaseBody, {"targets": targets, "model": model, "options": settings})
    return _decode_request(inputs, body, limits)


def _validate(kind: type[B], members: Any) -> B:
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise BadQuery(describe(add_suggestions(wrong, adapter(kind)))) from error


def _decode_request(inputs: Sequence[Input], body: PredictBaseBody, limits: Limits) -> PredictionRequest:
    """Decode the inputs. Map conventions are not guessed: inputs are often earlier predictions, stored as items are."""
    _check_count(len(inputs), limits)
    if not inputs:
        raise BadQuery("a prediction needs an input, such as rgb or caption")
    values: dict[str, Value] = {}
    weights: dict[str, float] = {}
    for number, given in enumerate(inputs, 1):
        if sum(content is not None for content in (given.text, given.file, given.data)) != 1:
            raise BadQuery(f"input {number} needs exactly one of text and data")
        kind, label = known_modality(given.modality), f"input {number} ({given.modality})"
        if given.form is None and given.box is None:
            value = content_value(given, kind, label, limits)
        else:
            value = content_reading(given, kind, label, limits, given.form, given.box).value
        if kind.name in values:
            raise BadQuery(f"{kind.name} is given twice; a prediction takes one input of each modality")
        values[kind.name] = value
        if given.weight is not None:
            weights[kind.name] = given.weight
        if abs(given.weight or 0) > MAX_WEIGHT:
            raise BadQuery(f"the weight of {kind.name} is outside -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}")
    targets = tuple(known_modality(name).name for name in body.targets)
    single = {
        known_modality(name).name: TargetOptions(**options.model_dump())
        for name, options in body.options.targets.items()
    }
    options = PredictOptions(**body.options.model_dump(exclude={"targets"}), targets=single, weights=weights)
    return PredictionRequest(values, targets, options, body.model)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.parts:
        raise LimitExceeded(f"a prediction has at most {limits.parts} inputs; this one has {count}")
