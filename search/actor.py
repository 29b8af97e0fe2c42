"""The actor of a change, recorded in logs and the audit trail; set where a request or a command comes in."""

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
class Actor:
    """`who`: `key:NAME` of an API key, `user:NAME` of this machine, or `anybody`; `address` is the client's address.

    `job` is the job that this process runs for them.
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
        """The members of `key`, `address`, `request_id` and `job` that are not None, for log lines."""
        values = {"request_id": self.request_id, "key": self.key, "address": self.address, "job": self.job}
        return {name: value for name, value in values.items() if value is not None}


_ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)


def current_actor() -> Actor:
    """The actor of this context; by default the user that this process runs as."""
    return _ACTOR.get() or Actor(f"user:{_name_of(os.geteuid())}")


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Make `actor` the current one in the block and in threads that inherit its context."""
    token = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(token)


@cache
def _name_of(user: int) -> str:
    """The user's name, or its number if it has none, as in a container. Cached, because the lookup reads files."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
