"""`GET /metrics`: who may read it, and the answer, which neither a failing database nor busy threads keep away."""

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
from sqlalchemy.exc import SQLAlchemyError

from anyseek.api.http.metrics import Installation, state_metrics
from anyseek.api.http.readiness import DATABASE_SECONDS, Check, Readiness
from anyseek.search.catalogue.failures import meaning
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError
from anyseek.search.telemetry.metrics import REGISTRY
from anyseek.workers.runtime import Runtime

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])

# A look at the installation that takes longer is not waited for; what was seen before is sent with its age.
_LOOK_SECONDS = 4.0


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
        return await asyncio.wrap_future(self._writing.submit(self._written, checks))

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

    def _written(self, checks: Sequence[Check]) -> bytes:
        return generate_latest(_Scrape(self._installation, checks))


@dataclass(frozen=True)
class _Scrape(Collector):
    """What one scrape collects."""

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
