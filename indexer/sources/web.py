"""Fetching pictures from the web, where servers are slow, wrong or hostile.

The address that was checked is the one that is connected to, at every redirect, so that no name can lead to a private
address by changing its mind. What may pass by waiting is tried again; everything that is waited for has an end.
"""

import random
import re
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from indexer.errors import AddressRefused, InputUnavailable, InputUnreadable, InputVanished, TooManyBytes
from indexer.sources.addresses import Network, resolve
from search.settings import Limits

REDIRECTS = 5
URL_CHARACTERS = 2_000
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = (("User-Agent", "anyseek"), ("Accept", "image/*,*/*;q=0.5"), ("Accept-Encoding", "identity"))
_UNENCODED = re.compile(r"[^!-~]")
_FAILURES = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: for a connection, for the next bytes, for a whole answer, for one input in all."""

    connect: float = 10.0
    read: float = 20.0
    answer: float = 60.0
    in_all: float = 120.0
    attempts: int = 4
    pause: float = 0.5  # before the second attempt; each later one twice as long


def is_url(ref: str) -> bool:
    """Whether `ref` is written like an address on the web."""
    return ref[:8].lower().startswith(("http://", "https://"))


class Web:
    """Reads public addresses, and private ones in `allowed`. Safe for several threads."""

    threads = 16  # most of the time is spent waiting

    def __init__(self, limits: Limits, allowed: Sequence[Network] = (), patience: Patience | None = None) -> None:
        self._limits = limits
        self._patience = patience or Patience()
        backend = _CheckedBackend(allowed, self._patience.answer)
        self._pool = httpcore.ConnectionPool(max_connections=64, keepalive_expiry=15.0, network_backend=backend)

    def checked(self, url: str) -> str:
        """The URL without its fragment, what is no ASCII in it encoded. Raises `AddressRefused`."""
        return _checked(url)

    def fetch(self, url: str) -> bytes:
        """The bytes at a URL. Raises `InputVanished`, `InputUnreadable`, `InputUnavailable`, `AddressRefused`,
        `TooManyBytes`.
        """
        checked, attempt = _checked(url), 0
        given_up = time.monotonic() + self._patience.in_all
        while True:
            attempt += 1
            try:
                return self._follow(checked)
            except _Passing as passing:
                pause = max(passing.after, self._patience.pause * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
                if attempt == self._patience.attempts or time.monotonic() + pause > given_up:
                    times = "once" if attempt == 1 else f"{attempt} times"
                    raise InputUnavailable(f"{url} was asked for {times} in vain: {passing}") from passing
            time.sleep(pause)

    def _follow(self, url: str) -> bytes:
        """The bytes where the redirects lead. Raises `_Passing` for what may be otherwise later."""
        asked = url
        for _ in range(REDIRECTS + 1):
            answer = self._get(url)
            if isinstance(answer, bytes):
                return answer
            url = _checked(urljoin(url, answer.url))
        raise InputUnreadable(f"{asked} leads on and on: more than {REDIRECTS} redirects")

    def _get(self, url: str) -> "bytes | _Redirect":
        timeouts = {"connect": self._patience.connect, "read": self._patience.read, "write": self._patience.read}
        extensions = {"timeout": {**timeouts, "pool": self._patience.answer}}
        try:
            with self._pool.stream("GET", url, headers=_HEADERS, extensions=extensions) as response:
                headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in _REDIRECTING and b"location" in headers:
                    return _Redirect(headers[b"location"])
                _check_status(response.status, headers.get(b"retry-after", ""), url)
                return self._limited(response.iter_stream(), headers.get(b"content-length", ""), url)
        except _FAILURES as error:
            raise _Passing(_told(error)) from error

    def _limited(self, chunks: Iterable[bytes], length: str, url: str) -> bytes:
        most, data = self._limits.bytes_per_file, bytearray()
        if length.isascii() and length.isdigit() and int(length) > most:
            raise TooManyBytes(f"{url} has {int(length):,} bytes; at most {most:,} are allowed")
        for chunk in chunks:
            data += chunk
            if len(data) > most:
                raise TooManyBytes(f"{url} has more than {most:,} bytes, the most that are allowed")
        return bytes(data)


@dataclass(frozen=True)
class _Redirect:
    url: str


class _Passing(Exception):
    """Something that may be otherwise when asked again; not before `after` seconds."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


def _check_status(status: int, retry_after: str, url: str) -> None:
    """Raises for every answer that is not the file."""
    if status == 200:
        return
    if status in _PASSING or status >= 500:
        raise _Passing(f"the server answered {status}", _seconds(retry_after))
    if status in _GONE:
        raise InputVanished(f"{url} is not there: the server answered {status}")
    raise InputUnreadable(f"{url} cannot be read: the server answered {status}")


def _seconds(retry_after: str) -> float:
    """How long a `Retry-After` header asks to wait; it is a number of seconds or a date."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _told(error: Exception) -> str:
    if isinstance(error, httpcore.TimeoutException):
        return "the server took too long"
    return " ".join(str(error).split()) or "the connection broke"


def _checked(url: str) -> str:
    url = url.strip().partition("#")[0]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        url = _UNENCODED.sub(_percent, url.replace(parts.netloc, parts.netloc.encode("idna").decode(), 1))
    except ValueError as error:
        raise AddressRefused(f"{url[:200]!r} is no address on the web: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise AddressRefused(f"{url[:200]!r} is no address of http or https")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(f"an address on {host!r} has a user name or password in it, which would be kept and shown")
    if len(url) > URL_CHARACTERS:
        most = f"{URL_CHARACTERS:,} are allowed"
        raise AddressRefused(f"an address on {host!r} has {len(url):,} characters; at most {most}")
    return url


def _percent(character: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in character.group().encode("utf-8", "surrogatepass"))


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that may be reached only; an answer has an end however slowly it drips."""

    def __init__(self, allowed: Sequence[Network], answer: float) -> None:
        self._allowed, self._answer = allowed, answer
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = resolve(host, port, self._allowed)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise httpcore.ConnectError(f"the name {host!r} cannot be looked up now") from error
            raise InputUnavailable(f"the name {host!r} is not known") from error
        for address in addresses[:-1]:
            try:
                return self._connected(address, port, timeout, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connected(addresses[-1], port, timeout, socket_options)

    def _connected(
        self, address: str, port: int, timeout: float | None, options: Iterable[httpcore.SOCKET_OPTION] | None
    ) -> httpcore.NetworkStream:
        return _EndingStream(self._inner.connect_tcp(address, port, timeout, None, options), self._answer)


class _EndingStream(httpcore.NetworkStream):
    """A connection on which an answer ends `seconds` after it was asked for."""

    def __init__(self, inner: httpcore.NetworkStream, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self._end = time.monotonic() + seconds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer did not end")
        return self._inner.read(max_bytes, left if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._end = time.monotonic() + self._seconds
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _EndingStream(secured, self._seconds)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
