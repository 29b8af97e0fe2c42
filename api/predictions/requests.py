"""Prediction requests: their JSON, and its conversion, or that of a form or Python values, to a `PredictionRequest`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, FiniteFloat, ValidationError

from anyseek.api.contents import (
    Upload,
    check_named,
    classes_from_json,
    forms_from_json,
    legend_from_json,
    sent_reading,
    sent_value,
    uploaded_reading,
    uploaded_value,
    weight_of_field,
)
from anyseek.api.errors import describe
from anyseek.api.forms import divided, numbers_of
from anyseek.api.http.did_you_mean import adapter, explained
from anyseek.api.predictions.wire import LARGEST_SEED, Input
from anyseek.api.schemas import Body
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.registry import Modality
from anyseek.model.seam import PredictOptions, TargetOptions, Value
from anyseek.search.assets.item_files import PICTURE
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.settings import Limits

B = TypeVar("B", bound="WantedBody")

LARGEST_WEIGHT = 100.0
MOST_TARGETS = 32
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
    """How to decode a target; an omitted option has the value that suits the modality."""

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
    """How to predict all targets; `targets` has options of single targets."""

    targets: dict[str, TargetOptionsBody] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = 0
    decoding_steps: Annotated[int, Field(ge=1, le=1000, description="of the diffusion that makes pixels")] = 25
    diffusion: Literal["ddpm", "ddim"] | None = None
    super_resolution: Annotated[bool, Field(description="448 instead of 224 pixels, with a second network")] = False
    points: Annotated[int, Field(ge=0, le=32, description="predict sam_instance for points x points places")] = 0


class WantedBody(Body):
    """What to predict, and how."""

    targets: list[str] = Field(min_length=1, max_length=MOST_TARGETS, examples=[["depth", "caption"]])
    model: str | None = Field(None, description="an installed model; by default the service's own")
    options: PredictOptionsBody = PredictOptionsBody()


class PredictBody(WantedBody):
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


@dataclass(frozen=True)
class _Given:
    modality: str
    value: Value
    weight: float | None


@dataclass(frozen=True)
class _Told:
    """What the other fields of a form say of its files."""

    classes: dict[int, str] | None
    forms: Mapping[str, str]
    box: tuple[float, ...] | None


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
    told = _told(settings, contents, limits)
    inputs = [_uploaded(upload, limits, told) for upload in contents]
    targets = [name.strip() for name in settings.pop("targets", "").split(",") if name.strip()]
    model = settings.pop("model", None)
    return _request(inputs, _validated(WantedBody, {"targets": targets, "model": model, "options": settings}))


def _told(settings: dict[str, str], contents: Sequence[Upload], limits: Limits) -> _Told:
    """What some fields of a form say of the others; they are taken out of the settings. Raises `BadQuery`."""
    forms = forms_from_json(settings.pop("forms"), limits) if "forms" in settings else {}
    read = legend_from_json if "semseg" in forms else classes_from_json  # only some forms have colours
    classes = read(settings.pop("classes"), limits) if "classes" in settings else None
    box = tuple(numbers_of(Upload("box", settings.pop("box")))) if "box" in settings else None
    check_named(classes, forms, contents)
    named = {known_modality(weight_of_field(upload.field)[0]).name for upload in contents}
    if box is not None and PICTURE not in named:
        raise BadQuery("the form has a box, but no picture; a box is of a picture")
    return _Told(classes, forms, box)


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
    return _Given(kind.name, _value(given, kind, f"input {number} ({given.modality})", limits), given.weight)


def _value(given: Input, kind: Modality, called: str, limits: Limits) -> Value:
    """The value of an input. Nothing is guessed: what was predicted is often given back, and has the form of items."""
    if given.form is None and given.box is None:
        return sent_value(given, kind, called, limits)
    return sent_reading(given, kind, called, limits, given.form, given.box).value


def _uploaded(upload: Upload, limits: Limits, told: _Told) -> _Given:
    field, weight = weight_of_field(upload.field)
    kind = known_modality(field)
    form, box = told.forms.get(kind.name), told.box if kind.name == PICTURE else None
    if form is None and box is None:
        return _Given(kind.name, uploaded_value(upload, kind, limits, told.classes), weight)
    return _Given(kind.name, uploaded_reading(upload, kind, limits, told.classes, form, box).value, weight)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.parts:
        raise LimitExceeded(f"a prediction has at most {limits.parts} inputs; this one has {count}")
