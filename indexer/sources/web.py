"""Fetches pictures from the web, where servers may be slow, wrong or hostile.

Only public addresses, and private ones that a setting allows, are reached. At every redirect the connection is made to
the exact address that was checked, which prevents DNS rebinding to a private address. Temporary
errors are retried, and every wait has a timeout.
"""

import ipaddress
import random
import re
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from anyseek.indexer.errors import AddressRefused, InputUnavailable, InputUnreadable, InputVanished, TooManyBytes
from anyseek.indexer.paths import one_line
from anyseek.search.settings import Limits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REDIRECTS = 5
URL_CHARACTERS = 2_000
_REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})
_GONE_STATUS = frozenset({404, 410})
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = (("User-Agent", "anyseek"), ("Accept", "image/*,*/*;q=0.5"), ("Accept-Encoding", "identity"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNENCODED = re.compile(r"[^!-~]")
_TRANSPORT_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts in seconds (of a connection, the next bytes, a response, all attempts), and the number of attempts."""

    connect: float = 10.0
    read: float = 20.0
    response: float = 60.0
    total: float = 120.0
    attempts: int = 4
    pause: float = 0.5  # before the second attempt; each later one twice as long


def is_url(ref: str) -> bool:
    """Whether `ref` is written like an address on the web."""
    return ref[:8].lower().startswith(("http://", "https://"))


class Web:
    """HTTP client for public addresses, and private ones in `allowed`. Thread-safe."""

    threads = 16  # most of the time is spent waiting

    def __init__(self, limits: Limits, allowed: Sequence[Network] = (), policy: RetryPolicy | None = None) -> None:
        self._limits = limits
        self._policy = policy or RetryPolicy()
        backend = _AddressCheckingBackend(allowed, self._policy.response)
        self._pool = httpcore.ConnectionPool(max_connections=64, keepalive_expiry=15.0, network_backend=backend)

    def resolve(self, url: str) -> str:
        """Return the URL without its fragment and with non-ASCII characters encoded. Raises `AddressRefused`."""
        return _normalize(url)

    def read(self, url: str) -> bytes:
        """The bytes at a URL. Raises `InputVanished`, `InputUnreadable`, `InputUnavailable`, `AddressRefused`,
        `TooManyBytes`.
        """
        normalized, attempt = _normalize(url), 0
        deadline = time.monotonic() + self._policy.total
        while True:
            attempt += 1
            try:
                return self._fetch(normalized)
            except _Transient as transient:
                pause = max(transient.after, self._policy.pause * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
                if attempt == self._policy.attempts or time.monotonic() + pause > deadline:
                    times = "once" if attempt == 1 else f"{attempt} times"
                    raise InputUnavailable(f"{url} was requested {times} without success: {transient}") from transient
            time.sleep(pause)

    def _fetch(self, url: str) -> bytes:
        """Follow redirects and return the bytes. Raises `_Transient` for temporary errors."""
        first = url
        for _ in range(REDIRECTS + 1):
            result = self._get(url)
            if isinstance(result, bytes):
                return result
            try:
                url = _normalize(urljoin(url, result))
            except ValueError as error:
                to = one_line(result[:200])
                raise AddressRefused(f"{url} redirects to {to!r}, which is not a web address: {error}") from error
        raise InputUnreadable(f"{first} redirects more than {REDIRECTS} times")

    def _get(self, url: str) -> bytes | str:
        """The body (bytes), or the location of a redirect (str). Raises `_Transient` for temporary errors."""
        timeouts = {"connect": self._policy.connect, "read": self._policy.read, "write": self._policy.read}
        extensions = {"timeout": {**timeouts, "pool": self._policy.response}}
        try:
            with self._pool.stream("GET", url, headers=_HEADERS, extensions=extensions) as response:
                headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in _REDIRECT_STATUS and b"location" in headers:
                    return headers[b"location"]
                _check_status(response.status, headers.get(b"retry-after", ""), url)
                return self._read_body(response.iter_stream(), headers.get(b"content-length", ""), url)
        except _TRANSPORT_ERRORS as error:
            is_late = isinstance(error, httpcore.TimeoutException)
            reason = "the server took too long" if is_late else one_line(str(error).strip()) or "the connection broke"
            raise _Transient(reason) from error

    def _read_body(self, chunks: Iterable[bytes], length: str, url: str) -> bytes:
        most, data = self._limits.bytes_per_file, bytearray()
        if length.isascii() and length.isdigit() and int(length) > most:
            raise TooManyBytes(f"{url} has {int(length):,} bytes; at most {most:,} are allowed")
        for chunk in chunks:
            data += chunk
            if len(data) > most:
                raise TooManyBytes(f"{url} has more than {most:,} bytes; that is the most allowed")
        return bytes(data)


class _Transient(Exception):
    """A temporary error, to be retried no sooner than after `after` seconds."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


def _check_status(status: int, retry_after: str, url: str) -> None:
    """Raises for every status but 200."""
    if status == 200:
        return
    if status in _TRANSIENT_STATUS or status >= 500:
        wait = retry_after.strip()  # a date, which hardly any server sends, is ignored
        raise _Transient(f"the server answered {status}", float(wait) if re.fullmatch("[0-9]+", wait) else 0.0)
    if status in _GONE_STATUS:
        raise InputVanished(f"{url} does not exist: the server answered {status}")
    raise InputUnreadable(f"{url} cannot be read: the server answered {status}")


def _normalize(url: str) -> str:
    url = url.strip().partition("#")[0]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        ascii_url = url.replace(parts.netloc, parts.netloc.encode("idna").decode(), 1)
        url = _UNENCODED.sub(lambda match: quote(match.group(), safe="", errors="surrogatepass"), ascii_url)
    except ValueError as error:
        raise AddressRefused(f"{url[:200]!r} is not a web address: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise AddressRefused(f"{url[:200]!r} is not an http or https address")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            f"an address on {host!r} has a user name or password in it, which would be stored and displayed; remove it"
        )
    if len(url) > URL_CHARACTERS:
        most = f"{URL_CHARACTERS:,} are allowed"
        raise AddressRefused(f"an address on {host!r} has {len(url):,} characters; at most {most}")
    return url


class _AddressCheckingBackend(httpcore.NetworkBackend):
    """Network backend that connects only to allowed addresses and limits the total time of a response."""

    def __init__(self, allowed: Sequence[Network], response_seconds: float) -> None:
        self._allowed, self._response_seconds = allowed, response_seconds
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
            addresses = resolve_host(host, port, self._allowed)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise httpcore.ConnectError(f"the name {host!r} cannot be looked up now") from error
            raise InputUnavailable(f"the name {host!r} is not known") from error
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, timeout, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, timeout, socket_options)

    def _connect(
        self, address: str, port: int, timeout: float | None, options: Iterable[httpcore.SOCKET_OPTION] | None
    ) -> httpcore.NetworkStream:
        return _DeadlineStream(self._inner.connect_tcp(address, port, timeout, None, options), self._response_seconds)


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose reads time out `seconds` after the request."""

    def __init__(self, inner: httpcore.NetworkStream, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self._end = time.monotonic() + seconds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the response did not end in time")
        return self._inner.read(max_bytes, left if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._end = time.monotonic() + self._seconds
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        encrypted = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _DeadlineStream(encrypted, self._seconds)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def resolve_host(host: str, port: int, allowed: Sequence[Network]) -> list[str]:
    """The addresses of a host, all of which are allowed.

    A host with one private address among public ones is refused, since honest hosts have none. Raises
    `AddressRefused`, `socket.gaierror`.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in infos))
    for address in addresses:
        if not is_allowed(ipaddress.ip_address(address.partition("%")[0]), allowed):
            raise AddressRefused(
                f"{host!r} is the private address {address}; to allow it, name its network in ANYSEEK_URL_NETWORKS"
            )
    return addresses


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public or in `allowed`; so must be an IPv4 address embedded in an IPv6 one."""
    return all(
        any(embedded in network for network in allowed if network.version == embedded.version)
        or (embedded.is_global and not embedded.is_multicast and not embedded.is_reserved)
        for embedded in _embedded_addresses(address)
    )


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse networks such as `10.0.0.0/8, fd00::/8`. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(network.strip()) for network in text.split(",") if network.strip())


def _embedded_addresses(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address, address.sixtofour]
    if address.teredo:
        return [address, *address.teredo]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address]
