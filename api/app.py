"""The web application: routes, the page's files, middleware, startup and shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import TypeAdapter
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from anyseek.api.dependencies import PROBLEMS, refuse_unknown_input
from anyseek.api.http import metrics, readiness
from anyseek.api.http.connections import limit_accept_errors
from anyseek.api.http.middleware import AccessControl, BodyLimit, RequestBudgets, RequestContext
from anyseek.api.http.problems import install_handlers
from anyseek.api.http.security import Authenticator, FallbackAuthenticator, RateLimits
from anyseek.api.predictions.requests import PredictBody
from anyseek.api.queries import routes as queries
from anyseek.api.queries.answering import create_query_batcher
from anyseek.api.routes import collections, items, jobs, maps, predictions, taught
from anyseek.api.routes import service as service_routes
from anyseek.api.schemas import PatchBody
from anyseek.api.service import Service
from anyseek.model.galleries.photos import credits_text
from anyseek.search.query.query import Query, QueryOfSeveral

# Queries are tried first, as most requests are queries.
_ROUTERS = (
    *(each.router for each in (queries, collections, maps, taught, items, predictions)),
    predictions.previews,
    *(each.router for each in (jobs, service_routes, readiness, metrics)),
)
_DESCRIPTION = """Find anything with anything.

Errors are problem details (RFC 9457) whose `type` is stable. An item's key stands at the end of a path and is
percent-encoded as one segment: `holiday/1.jpg` is `…/items/holiday%2F1.jpg`.
With API keys: `Authorization: Bearer KEY`.
"""
_WEB = Path(__file__).parent / "web"
_API_KEY = {"type": "http", "scheme": "bearer", "description": "an API key, as `anyseek keys create` prints it"}


page_router = APIRouter(include_in_schema=False)


@page_router.get("/")
async def page() -> FileResponse:
    return FileResponse(_WEB / "index.html", headers={"cache-control": "no-cache"})


@page_router.get("/docs")
async def docs() -> FileResponse:
    """Get the page that shows `/openapi.json` and lets its examples be tried."""
    return FileResponse(_WEB / "docs.html", headers={"cache-control": "no-cache"})


@page_router.get("/credits")
def demo_credits() -> PlainTextResponse:
    """Get the authors and licences of the demo's material; the page links to it."""
    return PlainTextResponse(credits_text())


def create_app(service: Service) -> FastAPI:
    """The application of a service; its startup begins to load the model."""
    serving, loopback = service.runtime.settings.serving, service.settings.loopback
    rate_limits = RateLimits(serving, loopback)
    app = FastAPI(
        title="Anyseek",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # its spans would contain paths
        responses=PROBLEMS,
        generate_unique_id_function=lambda route: route.name,
        middleware=_middleware(service, rate_limits),
    )
    app.state.service = service
    app.state.extra_lifespan = nullcontext  # `anyseek.api.mcp` has one
    app.state.query_batcher = create_query_batcher(service)
    database_url, proxies = service.runtime.settings.database_url, serving.proxy_networks
    app.state.authenticator = FallbackAuthenticator(database_url, loopback, proxies, rate_limits)
    app.state.readiness = readiness.create_readiness(service)
    app.state.exporter = metrics.Exporter(service.runtime, app.state.readiness)
    install_handlers(app, service.settings.in_process)
    for router in _ROUTERS:
        app.include_router(router, dependencies=[Depends(refuse_unknown_input)])
    app.include_router(page_router)
    app.mount("/web/swagger", GZipMiddleware(StaticFiles(packages=[("fastapi_swagger", "resources")])))
    app.mount("/web", GZipMiddleware(StaticFiles(directory=_WEB)))
    _describe(app)
    return app


def _middleware(service: Service, rate_limits: RateLimits) -> list[Middleware]:
    """The middleware, outermost first; without access control for requests from this process, which are its user's."""
    serving = service.runtime.settings.serving
    authenticator = Authenticator(service.runtime.database, service.settings.loopback, serving.proxy_networks)
    access = Middleware(AccessControl, authenticator, rate_limits, database_seconds=serving.database_seconds)
    return [
        Middleware(RequestContext),
        *(() if service.settings.in_process else (access,)),
        Middleware(BodyLimit, max_bytes=service.limits.bytes_per_request, serving=serving),
        Middleware(RequestBudgets, limits=service.limits, decoders=service.decoders),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    limit_accept_errors(asyncio.get_running_loop())
    # Routes build their schemas lazily, by parsing source. While another thread imports a model,
    # CPython 3.11 fails to do so (python/cpython#106905).
    app.openapi()
    app.state.service.start()
    async with app.state.extra_lifespan():
        yield
    app.state.exporter.close()
    app.state.authenticator.close()
    app.state.readiness.close()
    app.state.service.close()


def _describe(app: FastAPI) -> None:
    """Add the API key, and the schemas of bodies that routes parse themselves, to the OpenAPI description."""
    framework = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = framework()
            schemas = description["components"]["schemas"]
            for kind in (Query, QueryOfSeveral, queries.BatchBody, PredictBody, PatchBody):
                schema = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
                schemas |= schema.pop("$defs", {}) | {kind.__name__: schema}
            description["components"]["securitySchemes"] = {"apiKey": _API_KEY}
            for path, operations in description["paths"].items():
                for operation in operations.values() if path.startswith("/v1") else ():
                    operation["security"] = [{}, {"apiKey": []}]  # no key is needed until one exists
        return framework()

    app.openapi = openapi  # type: ignore[method-assign]
