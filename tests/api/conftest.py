"""Real services on free ports, run by uvicorn in a thread, with the hashing model and small limits."""

import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from httpx._transports import default as transports
from PIL import Image, ImageDraw

from anyseek import Client
from anyseek.api import cli
from anyseek.api.app import create_app
from anyseek.api.http.connections import make_protocol
from anyseek.api.http.logs import JsonLines
from anyseek.api.mcp import add_tools
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import Limits, Settings
from anyseek.workers.runtime import Runtime
from tests.search.gallery import begin_catalogue

# Every `httpx.get` would read the certificates anew, and a slow machine may need more than five seconds to answer.
transports.create_ssl_context = cache(transports.create_ssl_context)
DEFAULT_TIMEOUT_CONFIG.__init__(60.0)

LIMITS = Limits(
    bytes_per_file=200_000,
    bytes_per_request=600_000,
    bytes_per_query=100_000,
    values_per_query=2_000,
    bytes_per_batch=150_000,
    values_per_batch=4_000,
    bytes_per_answer=100_000,
    pixels=1_000_000,
    pixels_per_request=2_000_000,
    pixels_per_batch=3_000_000,
    queries_per_batch=10,
    hits_per_batch=50_000,
)
COLOURS = {"red": "#d92d2d", "green": "#4fae4a", "blue": "#2f6fed"}
SHAPES = ("disc", "box", "bar")


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that sends this process's logs to its own stderr does so for its test alone."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, JsonLines)]:
        root.removeHandler(handler)


@contextmanager
def listening(service: Service, lifespan: str = "on") -> Iterator[str]:
    """The service behind uvicorn while the block runs; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(service)
    add_tools(app)
    config = uvicorn.Config(
        app,
        http=make_protocol(service.runtime.settings.serving),
        log_config=None,
        access_log=False,
        forwarded_allow_ips=[str(network) for network in service.runtime.settings.serving.proxy_networks],
        lifespan=lifespan,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def serving(
    home: Path, model: str = "hashing", settings: ServiceSettings | None = None, **of_installation: Any
) -> Iterator[tuple[Client, Service]]:
    """A service over a data directory while the block runs, its model loaded, and a client that has its address."""
    with Runtime.open(Settings(home, **of_installation), model) as runtime:
        service = Service(runtime, settings or ServiceSettings())
        with listening(service) as url, Client(url, patience=300) as client:
            client.wait_until_ready(300)
            yield client, service


Run = Callable[..., tuple[int, str, str]]
StartService = Callable[..., tuple[str, Service]]


@pytest.fixture
def anyseek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process, in a fresh data directory and with the hashing model: (code, out, err)."""
    monkeypatch.setenv("ANYSEEK_MODEL", "hashing")

    def call(*arguments: str | Path, home: str = "home") -> tuple[int, str, str]:
        monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / home))
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Starts a service in a fresh data directory; stopped at the end of the test."""
    with ExitStack() as stack:

        def start(
            model: str = "hashing", settings: ServiceSettings | None = None, lifespan: str = "on"
        ) -> tuple[str, Service]:
            begin_catalogue(tmp_path / "home")
            runtime = stack.enter_context(Runtime.open(Settings(tmp_path / "home", LIMITS), model))
            service = Service(runtime, settings or ServiceSettings())
            return stack.enter_context(listening(service, lifespan)), service

        yield start


@pytest.fixture(scope="module")
def url(service: Service) -> Iterator[str]:
    """The address of the `service` that a test file makes, which has a collection `a` with the item `x`."""
    with listening(service) as address:
        with Client(address, patience=20) as client:
            client.create_collection("a")
            client.put_item("a", "x", caption="x")
        yield address


@pytest.fixture
def started(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Service]:
    """A service with an empty collection, which repeats every check of its readiness."""
    monkeypatch.setattr("anyseek.api.http.readiness.CACHE_SECONDS", 0.0)
    url, service = start_service()
    with Client(url, patience=20) as client:
        client.create_collection("words")
    return url, service


THREADS = 40  # of the event loop's own pool, in which plain functions of routes run


@pytest.fixture
def all_threads_busy(started: tuple[str, Service], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a service of which every thread for plain routes waits; metrics have been read before."""
    url = started[0]
    assert httpx.get(f"{url}/metrics", timeout=30).status_code == 200
    entered, go_on = threading.Semaphore(0), threading.Event()

    def wait() -> str:
        entered.release()
        go_on.wait(60)
        return "credits"

    monkeypatch.setattr("anyseek.api.app.credits_text", wait)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = [pool.submit(httpx.get, f"{url}/credits", timeout=60) for _ in range(THREADS)]
        try:
            for _ in range(THREADS):
                assert entered.acquire(timeout=60)
            yield url
        finally:
            go_on.set()
        assert {answer.result().status_code for answer in answers} == {200}


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "root").mkdir()
    with Runtime.open(Settings(folder / "home", LIMITS), "hashing") as runtime:
        service = Service(runtime, ServiceSettings(roots=(folder / "root",)))
        with listening(service) as url:
            with Client(url) as client:
                client.wait_until_ready(60)
            yield url, service


@pytest.fixture(scope="session")
def root(shared_service: tuple[str, Service]) -> Path:
    """The one folder in which the shared service may index."""
    return shared_service[1].settings.roots[0]


@pytest.fixture(scope="session")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with published models of random weights; tests leave the models as they found them."""
    from tests.random_weights import write_random_models

    home = tmp_path_factory.mktemp("models")
    write_random_models(home)
    return home


@pytest.fixture
def http(shared_service: tuple[str, Service]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_service[0], timeout=30) as client:
        yield client


@pytest.fixture
def collection(http: httpx.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty collection of the shared service."""
    name = f"c{abs(hash(request.node.nodeid))}"
    assert http.post("/v1/collections", json={"name": name}).status_code == 201
    yield name
    http.delete(f"/v1/collections/{name}")


@pytest.fixture(scope="session")
def shapes(shared_service: tuple[str, Service]) -> str:
    """A collection with nine captioned shapes, called `red disc` and so on; tests leave it as they found it."""
    with Client(shared_service[0]) as client:
        client.create_collection("shapes")
        for colour in COLOURS:
            for shape in SHAPES:
                name, files = f"{colour} {shape}", {"rgb": picture(colour, shape)}
                client.put_item("shapes", name, files, f"a {name}", {"colour": colour})
    return "shapes"


def picture(colour: str, shape: str, outline: bool = False) -> bytes:
    """A PNG of one shape."""
    image = Image.new("RGB", (96, 96), "white")
    pen = ImageDraw.Draw(image)
    fill = None if outline else COLOURS[colour]
    if shape == "disc":
        pen.ellipse((15, 15, 81, 81), fill=fill, outline="black", width=3)
    else:
        pen.rectangle((18, 18, 78, 78) if shape == "box" else (5, 38, 91, 58), fill=fill, outline="black", width=3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def two_pictures() -> bytes:
    """A red disc, and a blue bar to its right."""
    stream, sheet = io.BytesIO(), Image.new("RGB", (192, 96), "white")
    for place, name in enumerate((("red", "disc"), ("blue", "bar"))):
        sheet.paste(Image.open(io.BytesIO(picture(*name))), (96 * place, 0))
    sheet.save(stream, "PNG")
    return stream.getvalue()


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def ended_job(http: httpx.Client, number: int) -> dict[str, Any]:
    """The job once it has ended, within a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job: dict[str, Any] = http.get(f"/v1/jobs/{number}").json()
        if job["state"] not in ("scanning", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"job {number} has not ended")


def problem(answer: httpx.Response, status: int, code: str) -> None:
    """Check that an answer is a refusal of this status and type, whole in all its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:anyseek:{code}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
