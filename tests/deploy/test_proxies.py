"""nginx and Caddy, as Debian has them, before a service: TLS, the host, the client's address, sizes."""

import getpass
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from anyseek import Client
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import Serving, Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, listening
from tests.search.gallery import begin_catalogue

pytestmark = pytest.mark.slow

_PROXIES = Path(__file__).parents[2] / "deploy" / "proxy"
_NGINX = """
daemon off;
user {user};
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""
_STRANGER = "203.0.113.9"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    made = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made, *files]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(params=["nginx", "caddy"])
def proxied(request: pytest.FixtureRequest, tmp_path: Path, certificate: Path) -> Iterator[httpx.Client]:
    """Asks a service with a key through a proxy."""
    program = shutil.which(request.param, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip(f"needs Debian's {request.param}")
    begin_catalogue(tmp_path / "home")
    settings = Settings(tmp_path / "home", LIMITS, serving=Serving(proxies="127.0.0.1"))
    with Runtime.open(settings, "hashing") as runtime:
        key = create_key(runtime.database, "me", Scope.ADMIN)
        with listening(Service(runtime, ServiceSettings())) as url:
            Client(url, key).wait_until_ready(20)
            command, port = _configured(request.param, program, tmp_path, certificate, httpx.URL(url).port or 80)
            headers = {"authorization": f"Bearer {key}"}
            with (
                _running(command, port, tmp_path),
                httpx.Client(
                    base_url=f"https://localhost:{port}",
                    headers=headers,
                    verify=ssl.create_default_context(cafile=certificate / "certificate.pem"),
                    timeout=60,
                ) as http,
            ):
                yield http


def _configured(kind: str, program: str, folder: Path, certificate: Path, service: int) -> tuple[list[str], int]:
    """The command of a proxy with the project's own settings, but for ports and places; and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = _PROXIES / ("nginx.conf" if kind == "nginx" else "Caddyfile")
    site = file.read_text().replace("/etc/ssl/anyseek", str(certificate))
    site = site.replace("127.0.0.1:8765", f"127.0.0.1:{service}")
    written = folder / file.name
    if kind == "nginx":
        site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        written.write_text(_NGINX.format(folder=folder, site=site, user=getpass.getuser()))
        return [program, "-p", str(folder), "-c", str(written)], port
    site = site.replace("photos.example.org", f"https://localhost:{port}")
    written.write_text("{\n\tadmin off\n\tauto_https off\n\tskip_install_trust\n}\n" + site)
    return [program, "run", "--adapter", "caddyfile", "--config", str(written)], port


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait_for_answer(port, process, folder)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_answer(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    patience = time.monotonic() + 60
    while True:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < patience
            time.sleep(0.05)


def test_a_service_behind_a_proxy(proxied: httpx.Client) -> None:
    assert proxied.get("/healthz").status_code == 200
    assert proxied.get("/v1/collections", headers={"authorization": ""}).status_code == 401
    assert proxied.post("/v1/collections", json={"name": "a"}).status_code == 201
    put = proxied.put("/v1/collections/a/items/holiday%2F1", files={"caption": (None, "a dog")})
    assert put.json()["key"] == "holiday/1"
    found = proxied.post("/v1/collections/a/query", json={"parts": [{"text": "a dog"}]})
    assert [hit["key"] for hit in found.json()["hits"]] == ["holiday/1"]


def test_pages_of_the_own_origin_alone_may_ask(proxied: httpx.Client) -> None:
    own = str(proxied.base_url).rstrip("/")
    assert proxied.get("/v1/collections", headers={"origin": own}).status_code == 200
    refused = proxied.get("/v1/collections", headers={"origin": "https://evil.example"})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:anyseek:origin-refused")


def test_the_address_is_the_client_s_and_not_what_it_claims(proxied: httpx.Client) -> None:
    headers = {"x-forwarded-for": _STRANGER, "forwarded": f"for={_STRANGER}"}
    assert proxied.post("/v1/collections", json={"name": "a"}, headers=headers).status_code == 201
    entry = proxied.get("/v1/audit").json()["entries"][0]
    assert "127.0.0.1" in str(entry)
    assert _STRANGER not in str(entry)


def test_what_is_too_large_is_refused_by_the_service_in_its_words(proxied: httpx.Client) -> None:
    refused = proxied.post("/v1/collections/a/query", content=bytes(LIMITS.bytes_per_request + 1))
    assert (refused.status_code, refused.json()["type"]) == (413, "urn:anyseek:limit-exceeded")
