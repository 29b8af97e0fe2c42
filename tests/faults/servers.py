"""Servers of the faults' own, so that they may be killed: nobody else is on them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from kombu.exceptions import OperationalError
from sqlalchemy import create_engine, make_url, text

from anyseek.search.settings import Settings
from anyseek.workers.app import QUEUES, make_app, waiting_messages
from tests.services.servers import Postgres, Rabbit, Redis, Server


class Servers:
    """PostgreSQL, Redis and RabbitMQ in one folder, each started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Server] = []

    @cached_property
    def postgres(self) -> Postgres:
        server = Postgres(self._folder / "postgres")
        self._start(server)
        return server

    @cached_property
    def redis(self) -> Redis:
        server = Redis(self._folder / "redis")
        self._start(server)
        return server

    @cached_property
    def rabbit(self) -> Rabbit:
        server = Rabbit(self._folder / "rabbit")
        self._start(server)
        return server

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of a database that is there for the block."""
        address = make_url(self.postgres.url)
        self._on_postgres(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        yield address.set(database=name).render_as_string(hide_password=False)
        self._on_postgres(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        for server in self._started:
            server.stop()

    def _start(self, server: Server) -> None:
        self._started.append(server)
        server.start()

    def _on_postgres(self, *statements: str) -> None:
        engine = create_engine(self.postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Servers in a temporary folder, stopped and removed at the end of the block."""
    with TemporaryDirectory(prefix="anyseek-faults-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        servers = Servers(Path(folder))
        try:
            yield servers
        finally:
            servers.stop()


def purge(settings: Settings) -> None:
    """Drop what an earlier trial left at the broker."""
    app = make_app(settings)
    with app.connection_for_write() as connection:
        for queue in app.conf.task_queues:
            bound = queue(connection.default_channel)
            bound.declare()
            bound.purge()
    app.close()


def is_drained(settings: Settings) -> bool:
    """Whether no message waits in any queue."""
    app = make_app(settings)
    try:
        with suppress(OperationalError):
            return not any(waiting_messages(app, queue) for queue in QUEUES)
        return False
    finally:
        app.close()
