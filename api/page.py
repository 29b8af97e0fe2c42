"""The web page, the page that describes the API, and their files."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from anyseek.model.galleries.photos import credits_text

router = APIRouter()
_FOLDER = Path(__file__).parent / "web"


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(_FOLDER / "index.html", headers={"cache-control": "no-cache"})


@router.get("/docs", include_in_schema=False)
async def docs() -> FileResponse:
    """Get the page that shows `/openapi.json` and lets its examples be tried."""
    return FileResponse(_FOLDER / "docs.html", headers={"cache-control": "no-cache"})


@router.get("/credits", include_in_schema=False)
def demo_credits() -> PlainTextResponse:
    """Get the authors and licences of the demo's material; the page links to it."""
    return PlainTextResponse(credits_text())


def mount_files(app: FastAPI) -> None:
    """Serve the page's style and script below `/web`, and Swagger UI's, which another package brings."""
    app.mount("/web/swagger", GZipMiddleware(StaticFiles(packages=[("fastapi_swagger", "resources")])))
    app.mount("/web", GZipMiddleware(StaticFiles(directory=_FOLDER)))
