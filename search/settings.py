"""Settings: one tree of locations, limits and options, read from `ANYSEEK_…` in the environment.

A setting's variable is its path in the tree: `Settings.work.lease_seconds` is `ANYSEEK_WORK_LEASE_SECONDS`.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from pydantic import BeforeValidator, Field, ValidationError, create_model
from pydantic.dataclasses import dataclass
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode

from anyseek.model.compute.devices import CPU, OFFERED, is_device
from anyseek.model.home import default_home
from anyseek.model.json_reader import JsonLimits
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.search.errors import BadInput

DEFAULT_MODEL = "4m-tiny"
PREFIX = "ANYSEEK"

# The values of ANYSEEK_INDEX_BACKEND, and the class of `anyseek.search.spaces.base.Backend` that each stands for.
BACKENDS = {
    "faiss": "anyseek.search.spaces.local.backend:LocalBackend",
    "qdrant": "anyseek.search.spaces.qdrant.backend:QdrantBackend",
    "pgvector": "anyseek.search.spaces.pgvector.backend:PgvectorBackend",
}

_POSTGRES = "postgresql+psycopg://"
_DATABASES = ("sqlite:///", _POSTGRES)
_FILES = 2  # per part of a query: its value and its mask
_BROKERS = ("redis://", "rediss://", "amqp://", "amqps://")
_FILE = "file://"
_STORES = (f"{_FILE}/", "s3://", "gs://", "gcs://", "az://", "abfs://")

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _paths(value: object) -> object:
    """Split a text like `PATH` into absolute folders; other values pass unchanged."""
    if not isinstance(value, str):
        return value
    return [Path(part).expanduser().absolute() for part in value.split(os.pathsep) if part]


Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)]


class BadSetting(BadInput):
    code = "bad-setting"


@dataclass(frozen=True)
class Limits(FileLimits):
    """Limits of files, sources, requests and answers: larger ones are refused, not cut. Also of the item cache."""

    bytes_per_file: Positive = FileLimits.bytes_per_file
    pixels: Positive = FileLimits.pixels
    text_characters: Positive = FileLimits.text_characters
    bytes_per_request: Positive = 128 * 1024 * 1024
    bytes_per_query: Positive = 1024 * 1024  # of JSON, without the files in it
    values_per_query: Positive = 100_000  # in lists and objects of that JSON
    bytes_per_batch: Positive = 16 * 1024 * 1024  # the same of a batch of queries
    values_per_batch: Positive = 1_000_000
    pixels_per_request: Positive = 150_000_000  # of all its pictures and maps, or numbers of its arrays
    pixels_per_batch: Positive = 150_000_000  # the same of a batch of queries
    decoding_seconds: AboveZero = 20.0  # for all files of a request
    decoding_seconds_per_batch: AboveZero = 120.0
    filter_seconds: AboveZero = 10.0  # for evaluating all filters of a request, and for its full text
    filter_seconds_per_batch: AboveZero = 60.0
    bytes_per_answer: Positive = 64 * 1024 * 1024  # of captions and attributes of hits
    parts: Positive = 16
    hits: Positive = 10_000
    hits_with_vectors: Positive = 1_000
    queries_per_batch: Positive = 1_000
    hits_per_batch: Positive = 100_000
    words_per_batch: Positive = 1_000  # parts that search full text, in all its queries
    conditions_per_batch: Positive = 4_000  # in its distinct filters
    rows_per_table: Positive = 10_000_000  # of a source that is a table or a list of URLs
    refused_inputs: Positive = 100_000  # of a source; also needs more than half of the inputs listed so far
    item_cache_bytes: Natural = 64 * 1024 * 1024  # of items found by queries; 0: no cache

    @property
    def json(self) -> JsonLimits:
        """Limits of JSON in the body of a request or in a field of a form."""
        return JsonLimits(self.bytes_per_query, self.values_per_query, _FILES * self.parts)

    @property
    def batch_json(self) -> JsonLimits:
        """Limits of the JSON of a batch of queries."""
        return JsonLimits(self.bytes_per_batch, self.values_per_batch, _FILES * self.parts * self.queries_per_batch)


@dataclass(frozen=True)
class Work:
    """Processing of bulk jobs, the same within one process and by workers."""

    lease_seconds: AboveZero = 60.0  # a process that is silent for this long loses its leases
    task_seconds: Positive = 900  # the longest that one task may take; then its leases are revoked
    inputs_per_task: Positive = 256  # of the ledger, in one message to a worker
    inputs_per_batch: Positive = 32  # leased, embedded and written at once
    decoding_threads: Positive = 2
    embedders: Natural = 0  # threads that embed in parallel; 0: as many as `Settings.threads`, one with a GPU
    resubmit_seconds: AboveZero = 10.0  # how often to look for lost tasks
    concurrency: Positive = 1  # processes of one `anyseek worker`; each that embeds loads the model
    memory_mb: Natural = 0  # a worker's process above it is replaced after its task; 0: never
    metrics_port: Annotated[Natural, Field(le=65_535)] = 0  # on which `anyseek worker` serves its metrics; 0: none
    metrics_host: str = "127.0.0.1"  # the address for that; no API key is required


@dataclass(frozen=True)
class Serving:
    """Limits of `anyseek serve` towards its clients, and its proxies; see docs/security.md. Raises `BadSetting`."""

    database_seconds: AboveZero = 5.0  # how long a request waits for a database lock
    requests_per_minute: Natural = 6_000  # of one API key, a quarter of them at once; 0: any number. Not on loopback
    requests_at_once: Natural = 32  # the same
    requests_per_minute_of_address: Natural = 12_000  # of all API keys used from one address; the same
    bodies_mb: Positive = 1_024  # of all request bodies in memory at once
    connections: Positive = 1_000  # at once; above it the longest idle ones are closed
    head_seconds: AboveZero = 10.0  # until a request's line and headers have arrived
    body_seconds: AboveZero = 30.0  # until its body has arrived, plus a second for each `body_rate` bytes
    body_rate: Positive = 16_384  # the slowest allowed upload, in bytes per second
    send_seconds: AboveZero = 60.0  # until a client has read the next 64 KiB of a response
    decoders: Natural = 2  # processes that decode large pictures, and formats other than PNG, JPEG, GIF, BMP; 0: none
    decoder_mb: Positive = 2_048  # of memory for each, above its memory at start
    proxies: str = ""  # whose X-Forwarded-For is trusted: addresses or networks, such as `127.0.0.1, fd00::/8`

    def __post_init__(self) -> None:
        _read_networks("SERVING_PROXIES", self.proxies)

    @property
    def proxy_networks(self) -> Networks:
        return _read_networks("SERVING_PROXIES", self.proxies)


@dataclass(frozen=True)
class Photos:
    """Which metadata of picture files is stored; see docs/indexing.md."""

    metadata: bool = True  # date, camera, words, size, …
    places: bool = True  # where a photo was taken


@dataclass(frozen=True)
class Index:
    """The index that searches vectors; see docs/indexes.md. Raises `BadSetting`."""

    backend: str = "faiss"  # one of `BACKENDS`
    kind: Literal["auto", "flat", "hnsw", "ivf"] = "auto"  # of FAISS; auto chooses by the number of vectors
    device: Literal["cpu", "gpu"] = "cpu"  # of FAISS

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise BadSetting(f"{PREFIX}_INDEX_BACKEND must be one of {known}, not {self.backend!r}")


@dataclass(frozen=True)
class Audit:
    """Retention of the audit log; a running service removes older entries."""

    days: Natural = 90  # 0: for ever
    rows: Positive = 1_000_000  # at most


@dataclass(frozen=True)
class Logs:
    """The log on stderr."""

    format: Literal["auto", "text", "json"] = "auto"  # auto: text on a terminal
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Quotas:
    """The default quota of new API keys; 0: any number."""

    items: Natural = 0
    mb: Natural = 0  # of files that Anyseek stores, thumbnails included


@dataclass(frozen=True)
class Telemetry:
    """OpenTelemetry traces, whose exporter OpenTelemetry's own variables configure; see docs/operating.md."""

    traces: bool = False  # needs anyseek[telemetry]


@dataclass(frozen=True)
class Health:
    """Thresholds of `/readyz`, and the interval of the checks for damage at rest; see docs/operating.md."""

    free_mb: Natural = 1024  # less free space on the disk of the data directory is a warning
    compare_hours: Natural = 24  # between comparisons of facets and words with the items by a service; 0: once


@dataclass(frozen=True)
class Qdrant:
    """The location of Qdrant, if it is the index: a server, or a folder for one process and few vectors."""

    url: str = ""
    api_key: str = field(default="", repr=False)
    path: str = ""  # `qdrant` in the data directory unless set


@dataclass(frozen=True)
class Pgvector:
    """The PostgreSQL database that has the vectors, if pgvector is the index."""

    url: str = field(default="", repr=False)  # `postgresql+psycopg://…`; `database_url` unless set


@dataclass(frozen=True)
class Settings:
    """All settings. An embedded installation writes only to its data directory `home`.

    Several machines that work on one installation share `database_url`, `broker_url`, and `home` or `assets_url`.
    Raises `BadSetting` for an address of an unsupported kind.
    """

    home: Path
    limits: Limits = field(default_factory=Limits)
    database_url: str = field(default="", repr=False)  # SQLite in `home` unless set
    broker_url: str = field(
        default="", repr=False
    )  # Redis or RabbitMQ; if unset, jobs run in the process that starts them
    model: str = DEFAULT_MODEL  # of new collections
    roots: Paths = ()  # folders in which index jobs may be started over HTTP
    remote_roots: str = ""  # the same for URLs, such as `s3://bucket/photos, s3://other`
    url_networks: str = ""  # private networks from which pictures may be fetched, such as `10.0.0.0/8, fd00::/8`
    threads: Natural = 0  # per process for computation; 0: `OMP_NUM_THREADS`, or one for each processor
    device: str = CPU  # of all networks: cpu, cuda, cuda:N, auto; see docs/speed.md
    assets_url: str = ""  # of stored files and snapshots: `s3://bucket/prefix`, `file:///folder`; `home` unless set
    work: Work = field(default_factory=Work)
    serving: Serving = field(default_factory=Serving)
    photos: Photos = field(default_factory=Photos)
    index: Index = field(default_factory=Index)
    qdrant: Qdrant = field(default_factory=Qdrant)
    pgvector: Pgvector = field(default_factory=Pgvector)
    health: Health = field(default_factory=Health)
    audit: Audit = field(default_factory=Audit)
    logs: Logs = field(default_factory=Logs)
    telemetry: Telemetry = field(default_factory=Telemetry)
    quotas: Quotas = field(default_factory=Quotas)

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", _sqlite_address(self.home / "catalogue.sqlite"))
        _check_address("DATABASE_URL", self.database_url, _DATABASES)
        if not is_device(self.device):
            raise BadSetting(f"{PREFIX}_DEVICE is {self.device!r}; it must be {OFFERED}")
        if self.broker_url:
            _check_address("BROKER_URL", self.broker_url, _BROKERS)
        if self.assets_url:
            _check_address("ASSETS_URL", self.assets_url, _STORES)

        if self.index.backend == "pgvector" and not self.pgvector_address.startswith(_POSTGRES):
            raise BadSetting(
                f"{PREFIX}_INDEX_BACKEND=pgvector needs PostgreSQL; set {PREFIX}_PGVECTOR_URL or {PREFIX}_DATABASE_URL "
                f"to {_POSTGRES}…"
            )

    def make_home(self) -> None:
        """Create the data directory, accessible only to its owner, if it is absent."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def bucket(self) -> str:
        """The URL of stored files and snapshots in object storage; empty if they are in a folder."""
        return "" if self.assets_url.startswith(_FILE) else self.assets_url

    @property
    def assets(self) -> Path:
        """The folder of stored files, without a bucket."""
        return self._store / "assets"

    @property
    def indexes(self) -> Path:
        """The folder of snapshots; with a bucket, of this machine's copies."""
        return self._store / "indexes"

    @property
    def _store(self) -> Path:
        is_folder = self.assets_url.startswith(_FILE)
        return Path(unquote(self.assets_url.removeprefix(_FILE))) if is_folder else self.home

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
    def pgvector_address(self) -> str:
        """The URL of the database with the vectors."""
        return self.pgvector.url or self.database_url

    @property
    def server_record(self) -> Path:
        """The file to which a running service writes its address, for `anyseek query` to find."""
        return self.home / "server.json"


class _Variables(EnvSettingsSource):
    """Environment variables as a tree: `ANYSEEK_WORK_LEASE_SECONDS` is `lease_seconds` in `work`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        groups = {f"{PREFIX}_{setting.name}".upper() for setting in fields(Settings) if is_dataclass(setting.type)}
        # Pydantic would also parse a whole group as JSON.
        self._texts = {name.lower(): text for name, text in environment.items() if text and name not in groups}
        names: dict[str, Any] = {setting.name: (setting.type, None) for setting in fields(Settings)}
        tree = create_model("Variables", __base__=BaseSettings, **names)
        super().__init__(tree, env_prefix=f"{PREFIX}_", env_nested_delimiter="_", env_nested_max_split=1)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._texts


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; `ANYSEEK_HOME` is `~/.anyseek` unless set. An empty variable counts as not set.

    Raises `BadSetting` for a value that cannot be understood.
    """
    try:
        return Settings(**(_Variables(environment)() | {"home": default_home(environment)}))
    except ValidationError as error:
        from anyseek.model.config import sentence  # commands start sooner without YAML

        variable = "_".join([PREFIX, *map(str, error.errors()[0]["loc"])]).upper()
        raise BadSetting(sentence(error, variable)) from error


def variables(tree: Any, prefix: str = PREFIX) -> Iterator[tuple[str, str]]:
    """The variable name of each setting, and its value in `tree` as text."""
    for setting in fields(tree):
        name, value = f"{prefix}_{setting.name.upper()}", getattr(tree, setting.name)
        if is_dataclass(value):
            yield from variables(value, name)
        elif isinstance(value, tuple):
            yield name, os.pathsep.join(map(str, value))
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def mask_secrets(address: str) -> str:
    """The address with passwords, tokens and secrets masked."""
    hidden = re.sub(r"(//[^/:@]*:).*@", r"\1***@", address)
    return re.sub(r"((?:password|token|secret)=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)


def displayed_value(name: str, value: str) -> str:
    """The value of a setting's variable for display, with secrets masked."""
    return "***" if name.endswith("_API_KEY") and value else mask_secrets(value)


def _sqlite_address(path: Path) -> str:
    """The address of a database in a file, as `sqlalchemy.URL` writes it; SQLAlchemy is slow to import.

    `?`, `#`, `%`, `@` and `:` in the path would be parsed as parts of the address.
    """
    return "sqlite:///" + re.sub("[%?#@:]", lambda sign: quote(sign[0]), str(path))


def _read_networks(name: str, text: str) -> Networks:
    try:
        return tuple(ipaddress.ip_network(network.strip()) for network in text.split(",") if network.strip())
    except ValueError as error:
        raise BadSetting(
            f"{PREFIX}_{name} is {text!r}; it must be addresses or networks, separated by commas: {error}"
        ) from error


def _check_address(name: str, address: str, prefixes: tuple[str, ...]) -> None:
    if not address.startswith(prefixes):
        kinds = ", ".join(f"{kind}…" for kind in prefixes)
        raise BadSetting(f"{PREFIX}_{name} is {mask_secrets(address)!r}; it must be one of {kinds}")
