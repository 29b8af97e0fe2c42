"""The JSON of models, with examples for the OpenAPI description."""

from pydantic import BaseModel, Field

from api.schemas import FINGERPRINT, SpaceAnswer
from model.seam import Embedder


class ModelAnswer(BaseModel):
    name: str = Field(examples=["4m-tiny"])
    fingerprint: str = Field(examples=[FINGERPRINT])
    modalities: list[str] = Field(examples=[["caption", "rgb"]])
    spaces: list[SpaceAnswer]

    @classmethod
    def of(cls, embedder: Embedder) -> "ModelAnswer":
        return cls(
            name=embedder.name,
            fingerprint=embedder.fingerprint,
            modalities=sorted(embedder.modalities),
            spaces=[SpaceAnswer.of(space) for space in embedder.spaces.values()],
        )


class ModelsAnswer(BaseModel):
    models: list[ModelAnswer]
