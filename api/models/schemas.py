"""The JSON of models, with examples for the OpenAPI description."""

from pydantic import BaseModel, Field

from anyseek.api.schemas import FINGERPRINT, SpaceAnswer
from anyseek.model.modalities.reading.understanding import forms_of
from anyseek.model.seam import Embedder


class ModelAnswer(BaseModel):
    name: str = Field(examples=["4m-tiny"])
    fingerprint: str = Field(examples=[FINGERPRINT])
    modalities: list[str] = Field(examples=[["caption", "rgb"]])
    forms: dict[str, dict[str, str]] = Field(
        description="what a part's `form` may be, by modality, and what it means; first the form that items have",
        examples=[{"depth": {"far-bright": "larger is farther", "near-bright": "larger is nearer"}}],
    )
    spaces: list[SpaceAnswer]

    @classmethod
    def of(cls, embedder: Embedder) -> "ModelAnswer":
        return cls(
            name=embedder.name,
            fingerprint=embedder.fingerprint,
            modalities=sorted(embedder.modalities),
            forms={name: dict(forms) for name in sorted(embedder.modalities) if (forms := forms_of(name))},
            spaces=[SpaceAnswer.of(space) for space in embedder.spaces.values()],
        )


class ModelsAnswer(BaseModel):
    models: list[ModelAnswer]
