"""Whether the process lives and whether it can answer queries."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from anyseek.api.dependencies import ServiceDependency
from anyseek.api.errors import NotReady
from anyseek.api.http.problems import problem_of
from anyseek.api.http.readiness import Check, Readiness, State
from anyseek.api.http.security import Scope
from anyseek.api.service import Service
from anyseek.model.errors import ModelError
from anyseek.search.errors import AnyseekError

router = APIRouter(tags=["health"])


class HealthAnswer(BaseModel):
    status: str = Field(examples=["ok"])
    model: str = Field(description="loading, ready or failed; `/readyz` says why it failed", examples=["ready"])


class CheckAnswer(BaseModel):
    name: str = Field(examples=["database"])
    state: State = Field(description="`degraded`: the service answers, but somebody should look")
    detail: str = Field(description="one sentence for a person")

    @classmethod
    def of(cls, check: Check) -> "CheckAnswer":
        return cls(name=check.name, state=check.state, detail=check.detail)


class ReadyAnswer(HealthAnswer):
    checks: list[CheckAnswer] | None = Field(None, description="for the scope admin; null for others")


@router.get("/healthz")
async def healthz(service: ServiceDependency) -> HealthAnswer:
    """Check that the process answers. Neither a thread nor the database is asked."""
    return HealthAnswer(status="ok", model=service.state)


@router.get("/readyz", response_model=ReadyAnswer, response_model_exclude_none=True)
async def readyz(request: Request, service: ServiceDependency) -> ReadyAnswer | Response:
    """Check that the service can do its work; 503 if not. With the scope admin, each check with its state.

    It is ready when its model is loaded, the database can be read and written, the disk has room and the index answers.
    """
    readiness: Readiness = request.app.state.readiness
    found = await readiness.checks()
    is_admin = await request.app.state.admission.scope_of(request) is Scope.ADMIN
    if any(check.state is State.FAILED for check in found):
        more = {"checks": [CheckAnswer.of(check).model_dump() for check in found]} if is_admin else {}
        return problem_of(_reason(service, found, is_admin), request.state.request_id, more)
    checks = [CheckAnswer.of(check) for check in found] if is_admin else None
    return ReadyAnswer(status="ready", model=service.state, checks=checks)


def _reason(service: Service, found: Sequence[Check], is_admin: bool) -> AnyseekError | ModelError:
    """The model's own error, else what failed; others than admins learn no more than that the model is loading."""
    try:
        service.check_ready()
    except (AnyseekError, ModelError) as error:
        if is_admin or isinstance(error, NotReady):
            return error
    if not is_admin:
        return NotReady("the service is not ready; asked with a key of the scope admin, it tells why")
    failed = [f"{check.name}: {check.detail}" for check in found if check.state is State.FAILED]
    return NotReady(f"the service is not ready; {'; '.join(failed)}")
