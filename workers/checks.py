"""Checks of the settings: each reports success, or what is wrong and how to fix it."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from alembic.migration import MigrationContext
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from anyseek.model.errors import ModelError
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Sample
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import NEWEST, unknown_versions
from anyseek.search.errors import IndexUnavailable, StorageUnavailable
from anyseek.search.object_storage import Bucket
from anyseek.search.settings import PREFIX, Settings, mask_secrets, variables
from anyseek.search.spaces.base import check_backend

# Variables with the prefix that are not settings: for clients of a service, and for the project's tests.
_NOT_SETTINGS = (f"{PREFIX}_URL", f"{PREFIX}_API_KEY", f"{PREFIX}_TEST_", f"{PREFIX}_REQUIRE_")


@dataclass(frozen=True)
class Finding:
    """The result of one check and its remedy, one sentence each; `remedy` is empty on success."""

    what: str
    found: str
    remedy: str = ""

    @property
    def is_fine(self) -> bool:
        return not self.remedy


def check_all(settings: Settings, environment: dict[str, str]) -> Iterator[Finding]:
    """Run all checks. Nothing is changed, except that missing directories of the data directory are created."""
    yield from _unknown_variables(settings, environment)
    yield from _folders(settings)
    if settings.bucket:
        yield _bucket(settings.bucket)
    yield _database(settings)
    yield _broker(settings)
    yield _index(settings)
    yield _model(settings)


def _unknown_variables(settings: Settings, environment: dict[str, str]) -> Iterator[Finding]:
    known = [name for name, _ in variables(settings)]
    for name in sorted(environment):
        if name.startswith(f"{PREFIX}_") and name not in known and not name.startswith(_NOT_SETTINGS):
            near = get_close_matches(name, known, 1)
            hint = f"{near[0]} may be meant" if near else "`anyseek config show` lists the settings"
            yield Finding("environment", f"{name} is not a setting", f"{hint}; unset it")


def _folders(settings: Settings) -> Iterator[Finding]:
    stores = () if settings.bucket else (settings.assets,)
    for folder in (settings.home, *stores, settings.indexes, settings.locks):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            remedy = f"let this user write there, or set {PREFIX}_HOME to another folder"
            yield Finding("folder", f"{folder} cannot be written: {error.strerror}", remedy)
        else:
            yield Finding("folder", f"{folder} can be written")
    for root in settings.roots:
        if not (root.is_dir() and os.access(root, os.R_OK)):
            yield Finding("root", f"{root} is not a readable folder", f"create it, or remove it from {PREFIX}_ROOTS")
        else:
            yield Finding("root", f"{root} can be read")


def _bucket(url: str) -> Finding:
    """Write, list, read and remove an object."""
    bucket, key = Bucket(url), f"check/{uuid.uuid4().hex}"
    try:
        bucket.write(key, b"data")
        is_fine = bool(bucket.objects("check")) and bucket.read(key) == b"data"
        bucket.remove(key)
    except (StorageUnavailable, FileNotFoundError) as error:
        return Finding("assets", str(error), f"correct {PREFIX}_ASSETS_URL, or the rights of its credentials")
    if not is_fine:
        return Finding("assets", f"{url} does not list or give back what was written", "use another storage")
    return Finding("assets", f"{url} can be written, listed and read")


def _database(settings: Settings) -> Finding:
    address = mask_secrets(settings.database_url)
    if settings.database_url.startswith("sqlite") and not Path(make_url(settings.database_url).database or "").exists():
        return Finding("database", f"{address} will be created at its first use")
    try:
        database = Database(settings.database_url)
        with database.engine.connect() as connection:
            heads, unknown = MigrationContext.configure(connection).get_current_heads(), unknown_versions(connection)
        database.close()
    except ModuleNotFoundError as error:
        return Finding("database", f"{address} needs the package {error.name}", "pip install 'anyseek[services]'")
    except SQLAlchemyError as error:
        return Finding("database", f"{address} cannot be reached: {_first_line(error)}", _start_remedy("DATABASE_URL"))
    return _schema(address, heads, bool(unknown))


def _schema(address: str, heads: tuple[str, ...], is_unknown: bool) -> Finding:
    version = ", ".join(sorted(heads)) or "none"
    if is_unknown:
        found = f"{address} has tables of version {version}, which this anyseek does not know"
        return Finding("database", found, "install the anyseek that made them, or a newer one")
    state = "is up to date" if heads == (NEWEST,) else "will be upgraded at its first use"
    return Finding("database", f"{address} answers; its schema (version {version}) {state}")


def _broker(settings: Settings) -> Finding:
    if not settings.broker_url:
        return Finding("broker", "none is set: jobs run in the process that starts them")
    from kombu import Connection
    from kombu.exceptions import OperationalError

    address = mask_secrets(settings.broker_url)
    try:
        with Connection(settings.broker_url, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
    except (OperationalError, OSError) as error:
        return Finding("broker", f"{address} cannot be reached: {_first_line(error)}", _start_remedy("BROKER_URL"))
    except (ImportError, AttributeError):  # kombu raises the latter if the package redis is missing
        return Finding("broker", f"{address} needs the package redis", "pip install 'anyseek[services]'")
    return Finding("broker", f"{address} answers")


def _index(settings: Settings) -> Finding:
    try:
        return Finding("index", check_backend(settings))
    except IndexUnavailable as error:
        return Finding("index", str(error), f"set {PREFIX}_INDEX_BACKEND=faiss and {PREFIX}_INDEX_DEVICE=cpu otherwise")


def _model(settings: Settings) -> Finding:
    try:
        embedder = load_embedder(settings.model, settings.home, settings.device)
        embedder.embed([Sample({"caption": "a picture"})], list(embedder.spaces))
    except ModelError as error:
        return Finding("model", str(error), f"fetch its weights, or set {PREFIX}_MODEL (`anyseek models list`)")
    return Finding("model", f"{embedder.name} is loaded and works, fingerprint {embedder.fingerprint[:12]}")


def _start_remedy(name: str) -> str:
    return f"start it, or correct {PREFIX}_{name}"


def _first_line(error: Exception) -> str:
    message = str(getattr(error, "orig", None) or error).strip()
    return message.splitlines()[0] if message else type(error).__name__
