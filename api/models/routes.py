"""The loaded model and the modalities it takes."""

from fastapi import APIRouter

from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.models.schemas import ModelAnswer, ModelsAnswer
from anyseek.api.security import Scope

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", dependencies=[requires(Scope.READ)])
def list_models(service: ServiceDependency) -> ModelsAnswer:
    """Get the service's model: its fingerprint, its spaces, and the modalities it takes."""
    return ModelsAnswer(models=[ModelAnswer.of(service.embedder)])
