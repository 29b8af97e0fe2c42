"""The client of a command: of the service at ANYSEEK_URL, of the one recorded in the data directory, or in-process.

A running service records its URL in its data directory.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from anyseek.model.files import FileLock, atomic_file, is_locked
from anyseek.search.settings import DEFAULT_MODEL, Settings, read_settings

if TYPE_CHECKING:
    from anyseek.api.client.async_client import AsyncClient
    from anyseek.api.client.client import Client
    from anyseek.api.client.reader import CatalogueReader

_PATIENCE_SECONDS = 120.0
_LOCK = "server.lock"  # held as long as the process of the recorded service lives


def connect(environment: Mapping[str, str] = os.environ) -> "Client":
    """A client of the service, or of the data directory opened in this process.

    ANYSEEK_API_KEY is sent with requests; ANYSEEK_MODEL is the model of new collections.
    """
    url = _url(read_settings(environment), environment)
    if url:
        return _client(url, environment)
    from anyseek.api.client.client import Client

    return Client()


def connect_reader(environment: Mapping[str, str] = os.environ) -> "Client | CatalogueReader":
    """A client for commands that only read the catalogue; without a service it starts faster than `connect`."""
    settings = read_settings(environment)
    url = _url(settings, environment)
    if url:
        return _client(url, environment)
    from anyseek.api.client.reader import CatalogueReader

    return CatalogueReader(settings)


@contextmanager
def predicting_client(model: str | None, environment: Mapping[str, str] = os.environ) -> Iterator["Client | None"]:
    """A client of the service at ANYSEEK_URL, or of the recorded one if it serves `model`; else None.

    Without `model`, the model of ANYSEEK_MODEL or the default model is meant.
    """
    settings = read_settings(environment)
    explicit_url = environment.get("ANYSEEK_URL")
    url = _url(settings, environment)
    if not url:
        yield None
        return
    from anyseek.model.fourm.published.names import predicting_name  # imports NumPy, which other commands do without

    model_name = predicting_name(model or environment.get("ANYSEEK_MODEL") or DEFAULT_MODEL)
    with _client(url, environment) as client:
        # a name without a dtype stands for the dtype that is served
        names = [] if explicit_url else [model.name for model in client.models()]
        serves = any(model_name in (predicting_name(name), name.partition(":")[0]) for name in names)
        yield client if explicit_url or serves else None


def _url(settings: Settings, environment: Mapping[str, str]) -> str | None:
    return environment.get("ANYSEEK_URL") or recorded_url(settings)


def _client(url: str, environment: Mapping[str, str]) -> "Client":
    from anyseek.api.client.client import Client  # imports httpx

    return Client(url, environment.get("ANYSEEK_API_KEY"), patience=_PATIENCE_SECONDS)


def connect_async(environment: Mapping[str, str] = os.environ) -> "AsyncClient":
    """The same as `connect`, for asyncio."""
    from anyseek.api.client.async_client import AsyncClient

    url = _url(read_settings(environment), environment)
    return AsyncClient(url, environment.get("ANYSEEK_API_KEY"), patience=_PATIENCE_SECONDS if url else 0.0)


@contextmanager
def record_url(settings: Settings, url: str) -> Iterator[str | None]:
    """Record the service's URL while the block runs. Yields None, or a warning that says why it is not recorded."""
    lock, reason = FileLock(settings.locks / _LOCK), None
    try:
        if not lock.try_acquire():
            yield "Another service already uses this data directory; commands will use that one."
            return
        with atomic_file(settings.server_record) as record:
            record.write_text(json.dumps({"url": url}), encoding="utf-8")
    except OSError as error:
        effect = "this service only reads, and no command finds it"
        reason = f"The data directory cannot be written ({error.strerror}); {effect}."
    try:
        yield reason
    finally:
        with suppress(OSError):
            settings.server_record.unlink(missing_ok=True)
        lock.release()


def recorded_url(settings: Settings) -> str | None:
    """The URL of the running service of this data directory; None if there is none."""
    if not is_locked(settings.locks / _LOCK):
        return None
    try:
        members = json.loads(settings.server_record.read_text(encoding="utf-8"))
        return str(members["url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
