"""Health, readiness and metrics of the process: `/healthz`, `/readyz` and `/metrics`.

Neither a failing database nor busy threads keep the metrics away.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from anyseek.api.dependencies import ServiceDependency
from anyseek.api.errors import NotReady
from anyseek.api.http.metrics import Installation, state_metrics
from anyseek.api.http.problems import problem_of
from anyseek.api.http.readiness import Check, Readiness, State
from anyseek.api.http.security import DATABASE_SECONDS, Scope
from anyseek.api.schemas import Answer
from anyseek.api.service import Service
from anyseek.model.errors import ModelError
from anyseek.search.catalogue.failures import meaning
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError
from anyseek.search.telemetry.metrics import REGISTRY
from anyseek.workers.runtime import Runtime

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])

# A look at the installation that takes longer is not waited for; what was seen before is sent with its age.
_LOOK_SECONDS = 4.0


class HealthAnswer(BaseModel):
    status: str = Field(examples=["ok"])
    model: str = Field(description="loading, ready or failed; `/readyz` says why it failed", examples=["ready"])


class CheckAnswer(Answer):
    name: str = Field(examples=["database"])
    state: State = Field(description="`degraded`: the service answers, but somebody should look")
    detail: str = Field(description="one sentence for a person")


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
        more = {"checks": [CheckAnswer.read(check).model_dump() for check in found]} if is_admin else {}
        return problem_of(_reason(service, found, is_admin), request.state.request_id, more)
    checks = [CheckAnswer.read(check) for check in found] if is_admin else None
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


class Exporter:
    """Makes the answers to scrapes, one at a time, in a thread of its own."""

    def __init__(self, runtime: Runtime, readiness: Readiness) -> None:
        self._database = Database(runtime.settings.database_url, DATABASE_SECONDS)
        self._installation = Installation(runtime, self._database)
        self._readiness = readiness
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="metrics-text")
        self._look: asyncio.Future[None] | None = None

    async def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        checks = await self._readiness.checks()
        if self._look is None or self._look.done():
            self._look = asyncio.wrap_future(self._looking.submit(self._look_safely))
        await asyncio.wait([self._look], timeout=_LOOK_SECONDS)
        scrape = _Scrape(self._installation, checks)
        return await asyncio.wrap_future(self._writing.submit(generate_latest, scrape))

    def close(self) -> None:
        """A look that hangs is left to end by itself."""
        self._looking.shutdown(wait=False, cancel_futures=True)
        self._writing.shutdown()
        self._database.close()

    def _look_safely(self) -> None:
        try:
            self._installation.look()
        except (SQLAlchemyError, AnyseekError) as error:
            logger.warning("the numbers of the installation cannot be read: %s", meaning(error) or error)
        except Exception:
            logger.exception("the numbers of the installation cannot be read")


@dataclass(frozen=True)
class _Scrape(Collector):
    """The metrics of one scrape."""

    installation: Installation
    checks: Sequence[Check]

    def collect(self) -> Iterable[Metric]:
        yield from REGISTRY.collect()
        yield from self.installation.collect()
        yield state_metrics(self.checks)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Get metrics for Prometheus. Every key may, also of the scope `metrics`, which may do nothing else."""
    exporter: Exporter = request.app.state.exporter
    await request.app.state.admission.admit(request)
    return Response(await exporter.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
