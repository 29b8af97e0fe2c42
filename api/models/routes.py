"""The loaded model and the modalities it takes."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.schemas import FINGERPRINT, SpaceAnswer
from anyseek.model.modalities.reading.decode import forms_of
from anyseek.model.seam import Embedder

router = APIRouter(prefix="/v1/models", tags=["models"])


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


@router.get("", dependencies=[requires(Scope.READ)])
def list_models(service: ServiceDependency) -> ModelsAnswer:
    """Get the service's model: its fingerprint, its spaces, and the modalities it takes."""
    return ModelsAnswer(models=[ModelAnswer.of(service.embedder)])
