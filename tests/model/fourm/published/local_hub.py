"""A server that answers as the Hugging Face Hub does where files are fetched, and can be made to fail."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import LoopbackServer

COMMIT = "a" * 40
_BLOCK = 1 << 18


@dataclass
class LocalHub:
    """Files by repository and name, and what to do wrong.

    `large` files are served after a redirect to another host, as the Hub does; `others` are plain addresses. The
    next `breaks` answers stop after `bytes_before_break`; a hub that is `dying` sends that many in all.
    """

    large: dict[tuple[str, str], bytes] = field(default_factory=dict)
    small: dict[tuple[str, str], bytes] = field(default_factory=dict)
    others: dict[str, bytes] = field(default_factory=dict)
    stated: dict[str, str] = field(default_factory=dict)  # headers that lie
    breaks: int = 0
    dying: bool = False
    bytes_before_break: int = 0
    bytes_a_second: float = float("inf")
    sent: int = 0
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def downloads(self, name: str) -> list[str]:
        """The ranges asked for of the large files of that name, empty for a whole one."""
        large = [(path, span) for method, path, span in self.requests if method == "GET" and path.startswith("/cdn/")]
        return [span for path, span in large if path.endswith(f"/{name}")]


@contextmanager
def serving(hub: LocalHub) -> Iterator[LocalHub]:
    """The hub on a free port while the block runs."""

    class Handler(_Handler):
        state = hub

    server = LoopbackServer(Handler)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: LocalHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self) -> None:
        hub = self.state
        hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
        if self.path in hub.others:
            self._send(hub.others[self.path], {})
        elif self.path.startswith("/cdn/"):
            _, _, owner, repository, name = self.path.split("/")
            self._send(hub.large[f"{owner}/{repository}", name], {})
        else:
            self._resolve(hub)

    def _resolve(self, hub: LocalHub) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)", self.path)
        key = (match[1], match[3]) if match else ("", "")
        if key in hub.large:
            self._redirect(key, hub)
        elif key in hub.small:
            data = hub.small[key]
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
            self._send(data, {"X-Repo-Commit": COMMIT, "ETag": f'"{blob}"'} | hub.stated)
        else:
            known = any(repository == key[0] for repository, _ in [*hub.large, *hub.small])
            self._empty(404, {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})

    def _redirect(self, key: tuple[str, str], hub: LocalHub) -> None:
        data = hub.large[key]
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            "Location": f"http://localhost:{hub.port}/cdn/{key[0]}/{key[1]}",
        }
        self._empty(302, headers | hub.stated)

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, data: bytes, headers: dict[str, str]) -> None:
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self.send_response(206 if start else 200)
        for name, value in (headers | {"Content-Length": str(len(data) - start)}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._write(data[start:])

    def _write(self, data: bytes) -> None:
        hub, end = self.state, len(data)
        if hub.breaks:
            hub.breaks -= 1
            end = min(end, hub.bytes_before_break)
        if hub.dying:
            end = min(end, max(hub.bytes_before_break - hub.sent, 0))
        for start in range(0, end, _BLOCK):
            block = data[start : min(start + _BLOCK, end)]
            self.wfile.write(block)
            hub.sent += len(block)
            time.sleep(len(block) / hub.bytes_a_second)
        if end < len(data):
            self.close_connection = True
            self.connection.close()
