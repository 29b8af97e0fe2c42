"""Who answers a command: the service at ANYSEEK_URL, else the one recorded in the data directory, else this process."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.client import Client
from api.server_record import recorded_url
from search.settings import DEFAULT_MODEL, Settings, read_settings

if TYPE_CHECKING:
    from api.local import LocalClient

_PATIENCE_SECONDS = 120.0


@contextmanager
def connect(environment: Mapping[str, str] = os.environ) -> Iterator["Client | LocalClient"]:
    """A client of the service, or one that does the work here and only then imports what that takes.

    ANYSEEK_API_KEY is sent along; ANYSEEK_MODEL is the model of collections that are made here.
    """
    settings = read_settings(environment)
    url = environment.get("ANYSEEK_URL") or recorded_url(settings)
    if url:
        with Client(url, environment.get("ANYSEEK_API_KEY"), patience=_PATIENCE_SECONDS) as client:
            yield client
    else:
        with _local(settings, environment) as local:
            yield local


@contextmanager
def predicting_client(model: str | None, environment: Mapping[str, str] = os.environ) -> Iterator[Client | None]:
    """A client of the service at ANYSEEK_URL, or of the recorded one if `model` is the one that it serves; else None.

    Without `model` that of ANYSEEK_MODEL or the default one is meant.
    """
    settings = read_settings(environment)
    given, key = environment.get("ANYSEEK_URL"), environment.get("ANYSEEK_API_KEY")
    url = given or recorded_url(settings)
    if not url:
        yield None
        return
    wanted = model or environment.get("ANYSEEK_MODEL") or DEFAULT_MODEL
    with Client(url, key, patience=_PATIENCE_SECONDS) as client:
        # What follows a colon in a model's name is how it embeds.
        serves = bool(given) or wanted in [served["name"].partition(":")[0] for served in client.models()]
        yield client if serves else None


def _local(settings: Settings, environment: Mapping[str, str]) -> "LocalClient":
    from api.local import LocalClient

    return LocalClient(settings, environment.get("ANYSEEK_MODEL"))
