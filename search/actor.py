"""The actor recorded in logs and the audit trail, set where a request or a command comes in."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache

ANYBODY = "anybody"  # over HTTP, while no API key has ever existed
_KEY = "key:"


@dataclass(frozen=True)
class Caller:
    """`who`: `key:NAME` of an API key, `user:NAME` of this machine, or `anybody`; `address` is that of the sender.

    `job` is the job on which this process works for them.
    """

    who: str
    address: str | None = None
    request_id: str | None = None
    job: int | None = None

    @property
    def key(self) -> str | None:
        """The name of the API key; None for others."""
        return self.who.removeprefix(_KEY) if self.who.startswith(_KEY) else None

    @classmethod
    def of_key(cls, key: str) -> str:
        """`who` for an API key of this name."""
        return f"{_KEY}{key}"

    def fields(self) -> dict[str, object]:
        """The known members of `key`, `address`, `request_id` and `job`, for log lines."""
        values = {"request_id": self.request_id, "key": self.key, "address": self.address, "job": self.job}
        return {name: value for name, value in values.items() if value is not None}


_CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller:
    """The actor of this context; by default the user that this process runs as."""
    return _CALLER.get() or Caller(f"user:{_name_of(os.geteuid())}")


@contextmanager
def acting(caller: Caller) -> Iterator[None]:
    """Record `caller` as the actor of everything in the block and in the threads that it waits for."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


@cache
def _name_of(user: int) -> str:
    """The user's name; its number where it has none, as in a container. To look it up, files are read."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
