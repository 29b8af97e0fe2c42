"""The note that a running service leaves in its data directory, so that `anyseek query` finds it.

The service holds a lock that dies with it, so a note left by a killed service is known to be stale at once.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from search.locks import FileLock, alive
from search.settings import Settings

_LOCK = "server.lock"


@contextmanager
def recorded(settings: Settings, url: str) -> Iterator[bool]:
    """Record `url` while the block runs. False, and nothing written, where another service is recorded and alive."""
    lock = FileLock(settings.locks / _LOCK)
    if not lock.try_acquire():
        yield False
        return
    try:
        temporary = settings.server_record.with_suffix(".new")
        temporary.write_text(json.dumps({"url": url}), encoding="utf-8")
        temporary.replace(settings.server_record)
        yield True
    finally:
        settings.server_record.unlink(missing_ok=True)
        lock.release()


def recorded_url(settings: Settings) -> str | None:
    """The address of the living service of this data directory, if there is one."""
    if not alive(settings.locks / _LOCK):
        return None
    try:
        members = json.loads(settings.server_record.read_text(encoding="utf-8"))
        return str(members["url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
