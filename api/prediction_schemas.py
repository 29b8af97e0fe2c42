"""The JSON of predictions, with examples for its OpenAPI description."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from api.prediction_wire import Predictions
from api.schemas import Body
from api.wire import encode

MOST_TARGETS = 32
LARGEST_SEED = 2**32 - 1
_EXAMPLE: dict[str, Any] = {
    "model": "4M-21_B",
    "inputs": [{"modality": "rgb", "data": "iVBORw0KGgo…"}, {"modality": "caption", "text": "a red bus"}],
    "targets": ["depth", "color_palette"],
    "options": {"seed": 1, "targets": {"depth": {"steps": 8}}},
}


Steps = Annotated[int, Field(ge=1, le=1024, description="in how many steps its tokens are decoded")]
Temperature = Annotated[FiniteFloat, Field(ge=0, le=1000, description="0 takes the likeliest tokens")]
TemperatureSchedule = Annotated[str, Field(max_length=100, description="constant, linear or onex:<min>:<power>")]
Guidance = Annotated[FiniteFloat, Field(ge=-100, le=100, description="1 as trained, more follows the inputs closer")]


class InputBody(Body):
    """One input: a modality with exactly one of `text` and `data`."""

    modality: str = Field(description="such as rgb, caption, depth, metadata")
    text: str | None = Field(None, description="words, colours as #rrggbb,#rrggbb, or the JSON of boxes and the like")
    data: str | list[str] | None = Field(
        None, description="the file's bytes as base64; for captions and palettes the value itself"
    )
    weight: FiniteFloat | None = Field(
        None, description="how far to follow this input; negative leads away, without one it is followed as it is"
    )
    name: str | None = Field(None, max_length=4096, description="what errors call it, such as the file's name")
    classes: dict[str, str] | None = Field(None, description='names of the ids of a segmentation map: {"0": "sky"}')


class TargetOptionsBody(Body):
    """How a target is decoded; what is left out is as suits the modality."""

    scheme: Literal["roar", "maskgit"] | None = None
    steps: Steps | None = None
    token_schedule: Literal["linear", "cosine"] | None = None
    temperature: Temperature | None = None
    temperature_schedule: TemperatureSchedule | None = None
    guidance: Guidance | None = None
    top_p: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int | FiniteFloat, Field(ge=0, description="a count, or a share with a point")] | None = None


class PredictOptionsBody(TargetOptionsBody):
    """How everything is predicted; `targets` has options of single targets."""

    targets: dict[str, TargetOptionsBody] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = 0
    decoding_steps: Annotated[int, Field(ge=1, le=1000, description="of the diffusion that makes pixels")] = 25
    diffusion: Literal["ddpm", "ddim"] | None = None
    super_resolution: Annotated[bool, Field(description="448 instead of 224 pixels, with a second network")] = False
    points: Annotated[int, Field(ge=0, le=32, description="ask for sam_instance at points x points places")] = 0


class WantedBody(Body):
    """What is to be predicted, and how."""

    targets: list[str] = Field(min_length=1, max_length=MOST_TARGETS, examples=[["depth", "caption"]])
    model: str | None = Field(None, description="an installed model; the service's own unless it is given")
    options: PredictOptionsBody = PredictOptionsBody()


class PredictBody(WantedBody):
    """A prediction: what is given, and what is wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    inputs: list[InputBody] = Field(min_length=1)


class FileAnswer(BaseModel):
    name: str = Field(examples=["depth.png"])
    media_type: str = Field(examples=["image/png"])
    data: str = Field(description="base64")


class PredictedAnswer(BaseModel):
    modality: str = Field(examples=["depth"])
    value: Any = Field(description="a text or numbers as JSON; null for pictures and maps, which are files")
    files: list[FileAnswer]


class RefusedAnswer(BaseModel):
    modality: str
    detail: str = Field(description="one sentence for a person")


class PredictAnswer(BaseModel):
    model: str = Field(examples=["4M-21_B"])
    predictions: list[PredictedAnswer]
    refused: list[RefusedAnswer] = Field(description="targets that the model does not predict")

    @classmethod
    def of(cls, found: Predictions) -> "PredictAnswer":
        predictions = [
            PredictedAnswer(
                modality=one.modality,
                value=one.value,
                files=[
                    FileAnswer(name=file.name, media_type=file.media_type, data=encode(file.data)) for file in one.files
                ],
            )
            for one in found.predicted
        ]
        refused = [RefusedAnswer(modality=one.modality, detail=one.detail) for one in found.refused]
        return cls(model=found.model, predictions=predictions, refused=refused)


# What the description of a route that reads its body by hand refers to.
PREDICTION_BODIES = (PredictBody, InputBody, PredictOptionsBody, TargetOptionsBody)
