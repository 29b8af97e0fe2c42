"""Whether the process lives and whether it can answer queries."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.dependencies import ServiceDependency

router = APIRouter(tags=["health"])


class HealthAnswer(BaseModel):
    status: str = Field(examples=["ok"])
    model: str = Field(description="loading, ready or failed; `/readyz` says why it failed", examples=["ready"])


@router.get("/healthz")
async def healthz(service: ServiceDependency) -> HealthAnswer:
    """Check that the process answers."""
    return HealthAnswer(status="ok", model=service.state)


@router.get("/readyz")
async def readyz(service: ServiceDependency) -> HealthAnswer:
    """Check that the model is loaded and has embedded something; 503 until then."""
    service.check_ready()
    return HealthAnswer(status="ready", model=service.state)
