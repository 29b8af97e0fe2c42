"""Whether the process lives and whether it can answer queries."""

from fastapi import APIRouter

from api.dependencies import ServiceDependency
from api.schemas import HealthAnswer

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz(service: ServiceDependency) -> HealthAnswer:
    """The process answers."""
    return HealthAnswer(status="ok", model=service.state)


@router.get("/readyz")
async def readyz(service: ServiceDependency) -> HealthAnswer:
    """The model is loaded and has embedded something; 503 before."""
    service.check_ready()
    return HealthAnswer(status="ready", model=service.state)
