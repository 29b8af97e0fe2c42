"""The web page and its files."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

router = APIRouter()
_FOLDER = Path(__file__).parent.parent / "web"


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(_FOLDER / "index.html", headers={"cache-control": "no-cache"})


def mount_files(app: FastAPI) -> None:
    """Serve the page's style and script below `/web`."""
    app.mount("/web", StaticFiles(directory=_FOLDER))
