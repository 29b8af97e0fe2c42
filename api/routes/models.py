"""What the loaded model is and takes."""

from fastapi import APIRouter

from api.dependencies import ServiceDependency, requires
from api.schemas import ModelAnswer, ModelsAnswer
from api.security import Scope

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", dependencies=[requires(Scope.READ)])
def list_models(service: ServiceDependency) -> ModelsAnswer:
    """The model that this service answers with: its fingerprint, its spaces, the modalities it takes."""
    return ModelsAnswer(models=[ModelAnswer.of(service.embedder)])
