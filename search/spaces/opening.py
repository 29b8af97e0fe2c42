"""Opens the backend that the settings name; the only module that imports backends, and only when they are needed.

Importing Qdrant's client, for example, would add a third to the time in which a command starts.
"""

from pkgutil import resolve_name

from anyseek.search.catalogue.session import Database
from anyseek.search.settings import BACKENDS, Settings
from anyseek.search.spaces.base import Backend


def open_backend(database: Database, settings: Settings) -> Backend:
    """The backend of the settings. Raises `IndexUnavailable` if it is already clear that it cannot be used."""
    return _backend(settings)(database, settings)


def check_backend(settings: Settings) -> str:
    """Describe the backend in one sentence. Raises `IndexUnavailable` if it cannot be used."""
    return _backend(settings).check(settings)


def _backend(settings: Settings) -> type[Backend]:
    found: type[Backend] = resolve_name(BACKENDS[settings.index.backend])
    return found
