"""Which sources may be indexed over HTTP: what lies inside the service's roots, and addresses below its remote ones."""

import os
from pathlib import Path

from anyseek.api.errors import RootRefused
from anyseek.api.service import Service
from anyseek.indexer.paths import is_remote
from anyseek.search.errors import BadInput


def folders_below(service: Service, path: str | None) -> list[str]:
    """The absolute paths of the folders in `path`, sorted, hidden ones left out; without `path` the roots.

    Raises `RootRefused`, and `BadInput` for what is not a folder that can be read.
    """
    if path is None:
        return [str(root) for root in service.settings.roots]
    folder = inside_roots(service, path)
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise BadInput(f"{path} is not a folder that can be read: {error.strerror}") from error


def inside_roots(service: Service, name: str) -> str | Path:
    """The source with its links followed. Raises `RootRefused`, which does not reveal if an outside path exists."""
    if is_remote(name):
        return _inside_remote_roots(service, name)
    folder = Path(name)
    roots = service.settings.roots
    if "\0" not in name and folder.is_absolute():
        folder = folder.resolve()
        if any(folder.is_relative_to(root) for root in roots):
            return folder
    raise RootRefused(
        "over HTTP only sources inside the service's roots can be indexed; "
        + ("this source is outside" if roots else "none are configured (ANYSEEK_ROOTS)")
    )


def _inside_remote_roots(service: Service, address: str) -> str:
    roots = [root.strip().rstrip("/") for root in service.runtime.settings.remote_roots.split(",") if root.strip()]
    has_steps_up = ".." in address.split("/")
    if "\0" not in address and not has_steps_up and any(f"{address}/".startswith(f"{root}/") for root in roots):
        return address
    raise RootRefused(
        "over HTTP only addresses below the service's remote roots can be indexed; "
        + ("this address is not" if roots else "none are configured (ANYSEEK_REMOTE_ROOTS)")
    )
