"""The JSON of a prediction request: inputs, targets and options."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat

from anyseek.api.predictions.wire import LARGEST_SEED, Input
from anyseek.api.schemas import Body

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
