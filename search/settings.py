"""Where things are and how much is allowed: one tree of settings, read from `ANYSEEK_…` in the environment.

A setting's variable is its path in the tree: `Settings.work.lease_seconds` is `ANYSEEK_WORK_LEASE_SECONDS`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from model.home import default_home
from search.errors import BadInput

DEFAULT_MODEL = "4m-tiny"
PREFIX = "ANYSEEK"

_DATABASES = ("sqlite:///", "postgresql+psycopg://")
_BROKERS = ("redis://", "rediss://", "amqp://", "amqps://")

Tree = TypeVar("Tree")


class BadSetting(BadInput):
    code = "bad-setting"


@dataclass(frozen=True)
class Limits:
    """The most that one input may be; above it the input is refused, never cut."""

    bytes_per_file: int = 64 * 1024 * 1024
    bytes_per_request: int = 128 * 1024 * 1024
    pixels: int = 100_000_000
    text_characters: int = 10_000
    parts: int = 16
    hits: int = 10_000
    queries_per_batch: int = 1_000


@dataclass(frozen=True)
class Work:
    """How bulk jobs are worked on; the same for the jobs of one process and for workers."""

    lease_seconds: float = 60.0  # a process that was not heard of for so long loses what it has leased
    task_seconds: int = 900  # the longest that one task may take; what it holds then is taken from it
    inputs_per_task: int = 256  # of the ledger, in one message to a worker
    inputs_per_batch: int = 32  # leased, embedded and written at once
    decoding_threads: int = 2
    resubmit_seconds: float = 10.0  # how often lost tasks are looked for
    concurrency: int = 1  # processes of one `anyseek worker`; each that embeds loads the model
    memory_mb: int = 0  # a worker's process above it is replaced after its task; 0: never


@dataclass(frozen=True)
class Index:
    """What vectors are searched with; see docs/indexes.md. Raises `BadSetting`."""

    backend: str = "faiss"  # or qdrant
    kind: str = "auto"  # of FAISS: flat, hnsw, ivf; auto chooses by the number of vectors
    device: str = "cpu"  # of FAISS: or gpu

    def __post_init__(self) -> None:
        for name, offered in (
            ("backend", ("faiss", "qdrant")),
            ("kind", ("auto", "flat", "hnsw", "ivf")),
            ("device", ("cpu", "gpu")),
        ):
            if getattr(self, name) not in offered:
                value = getattr(self, name)
                raise BadSetting(f"{PREFIX}_INDEX_{name.upper()} is {value!r}; it takes one of {', '.join(offered)}")


@dataclass(frozen=True)
class Qdrant:
    """Where Qdrant is, where it is the index: a server, or else a folder for one process and few vectors."""

    url: str = ""
    api_key: str = field(default="", repr=False)
    path: str = ""  # `qdrant` in the data directory unless set


@dataclass(frozen=True)
class Settings:
    """One data directory holds everything of an embedded installation; nothing is written outside it.

    Several machines that work on one installation share `home`, `database_url` and `broker_url`. Raises `BadSetting`
    for an address of a kind that is not offered.
    """

    home: Path
    limits: Limits = field(default_factory=Limits)
    database_url: str = field(default="", repr=False)  # SQLite in `home` unless set
    broker_url: str = field(default="", repr=False)  # Redis or RabbitMQ; unset: a job runs where it is started
    model: str = DEFAULT_MODEL  # of collections that are made
    roots: tuple[Path, ...] = ()  # folders that index jobs may be started in over HTTP
    remote_roots: str = ""  # the same for addresses, as `s3://bucket/photos, s3://other`
    url_networks: str = ""  # private networks that pictures may be fetched from, as `10.0.0.0/8, fd00::/8`
    work: Work = field(default_factory=Work)
    index: Index = field(default_factory=Index)
    qdrant: Qdrant = field(default_factory=Qdrant)

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'catalogue.sqlite'}")
        _check_address("DATABASE_URL", self.database_url, _DATABASES)
        if self.broker_url:
            _check_address("BROKER_URL", self.broker_url, _BROKERS)

    @property
    def assets(self) -> Path:
        return self.home / "assets"

    @property
    def indexes(self) -> Path:
        return self.home / "indexes"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def qdrant_address(self) -> str:
        """The server's URL, or the folder of local mode."""
        return self.qdrant.url or self.qdrant.path or str(self.home / "qdrant")

    @property
    def server_record(self) -> Path:
        """Where a running service writes its address, for `anyseek query` to find it."""
        return self.home / "server.json"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; `ANYSEEK_HOME` is `~/.anyseek` unless set. An empty variable counts as not set.

    Raises `BadSetting` for a value that cannot be understood.
    """
    return _read(Settings, PREFIX, {**environment, f"{PREFIX}_HOME": str(default_home(environment))})


def variables(tree: Any, prefix: str = PREFIX) -> Iterator[tuple[str, str]]:
    """The name of each setting's variable and what it would have to be to give this tree."""
    for one in fields(tree):
        name, value = f"{prefix}_{one.name.upper()}", getattr(tree, one.name)
        if is_dataclass(value):
            yield from variables(value, name)
        elif isinstance(value, tuple):
            yield name, os.pathsep.join(map(str, value))
        else:
            yield name, str(value)


def masked(address: str) -> str:
    """An address without its password."""
    hidden = re.sub(r"(//[^/:@]*:).*@", r"\1***@", address)
    return re.sub(r"((?:password|token|secret)=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)


def shown(name: str, value: str) -> str:
    """What may be seen of the value of a setting's variable."""
    return "***" if name.endswith("_API_KEY") and value else masked(value)


def _read(kind: type[Tree], prefix: str, environment: Mapping[str, str]) -> Tree:
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    for one in fields(kind):  # type: ignore[arg-type]
        name, hint = f"{prefix}_{one.name.upper()}", hints[one.name]
        if is_dataclass(hint):
            values[one.name] = _read(cast(type[Any], hint), name, environment)
        elif text := environment.get(name):
            values[one.name] = _parsed(name, text, hint, may_be_zero=one.default == 0)
    return kind(**values)


def _parsed(name: str, text: str, hint: Any, may_be_zero: bool) -> object:
    if hint == tuple[Path, ...]:
        return tuple(Path(part).expanduser().absolute() for part in text.split(os.pathsep) if part)
    if hint in (str, Path):
        return hint(text)
    try:
        value: int | float = hint(text)
    except ValueError as error:
        wanted = "a whole number" if hint is int else "a number"
        raise BadSetting(f"{name} is {text!r}; it takes {wanted}") from error
    if not (0 < value < float("inf") or (value == 0 and may_be_zero)):
        raise BadSetting(f"{name} is {text!r}; it takes a number above 0")
    return value


def _check_address(name: str, address: str, offered: tuple[str, ...]) -> None:
    if not address.startswith(offered):
        kinds = ", ".join(f"{kind}…" for kind in offered)
        raise BadSetting(f"{PREFIX}_{name} is {masked(address)!r}; it takes one of {kinds}")
