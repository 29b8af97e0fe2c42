"""Fetching from servers that are slow, wrong or hostile, and addresses that must not be reached."""

import ipaddress
import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from anyseek.indexer.errors import AddressRefused, InputUnavailable, InputUnreadable, InputVanished, TooManyBytes
from anyseek.indexer.sources.web import REDIRECTS, RetryPolicy, Web, is_allowed, is_url, parse_networks
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits
from tests.indexer import sources_kit as kit
from tests.services.servers import free_port

LOOPBACK = parse_networks(kit.LOOPBACK)
SOON = RetryPolicy(connect=2.0, read=0.4, response=1.0, total=6.0, attempts=3, pause=0.01)


@pytest.fixture
def site() -> Iterator[kit.Site]:
    with kit.site() as one:
        yield one


@pytest.fixture
def web() -> Web:
    return Web(Limits(bytes_per_file=5_000), LOOPBACK, SOON)


def test_what_is_there_is_read(site: kit.Site, web: Web) -> None:
    site.serve({"a.png": b"bytes", "M%C3%BCll%20x": b"odd"})
    assert web.read(site.url + "a.png") == b"bytes"
    assert web.read(site.url + "a.png#fragment") == b"bytes"
    assert web.read(site.url + "Müll x") == b"odd"


def test_redirects_are_followed_but_not_for_ever(site: kit.Site, web: Web) -> None:
    site.serve({"end": b"bytes"})
    for number in range(REDIRECTS + 1):
        target = f"r{number + 1}" if number + 1 < REDIRECTS + 1 else f"{site.url}end"
        site.answers[f"/r{number}"] = (302, {"Location": target}, b"")
    assert web.read(site.url + "r1") == b"bytes"
    with pytest.raises(InputUnreadable, match="redirects more than"):
        web.read(site.url + "r0")


@pytest.mark.parametrize(
    ("status", "error"), [(404, InputVanished), (410, InputVanished), (401, InputUnreadable), (204, InputUnreadable)]
)
def test_answers_that_stay_so_are_not_asked_for_again(
    site: kit.Site, web: Web, status: int, error: type[BadInput]
) -> None:
    site.answers["/a"] = (status, {}, b"")
    with pytest.raises(error, match=str(status)):
        web.read(site.url + "a")
    assert site.asked == ["/a"]


@pytest.mark.parametrize("status", [408, 429, 503])
def test_answers_that_may_pass_are_asked_for_again(site: kit.Site, web: Web, status: int) -> None:
    answers = itertools.chain([(status, {}, b"wait"), (status, {}, b"wait")], itertools.repeat((200, {}, b"bytes")))
    site.answers["/a"] = lambda _: next(answers)
    assert web.read(site.url + "a") == b"bytes"
    assert len(site.asked) == 3
    site.answers["/b"] = (status, {}, b"")
    with pytest.raises(InputUnavailable, match=rf"3 times without success: the server answered {status}"):
        web.read(site.url + "b")


def test_retry_after_is_waited_for_unless_it_is_too_long(site: kit.Site, web: Web) -> None:
    answers = iter([(429, {"Retry-After": "1"}, b""), (200, {}, b"bytes")])
    site.answers["/a"] = lambda _: next(answers)
    began = time.monotonic()
    assert web.read(site.url + "a") == b"bytes"
    assert time.monotonic() - began >= 1
    site.answers["/b"] = (503, {"Retry-After": "3600"}, b"")
    with pytest.raises(InputUnavailable, match="requested once"):
        web.read(site.url + "b")


def test_a_broken_connection_or_none_is_tried_again(site: kit.Site, web: Web) -> None:
    def cut(handler: Any) -> tuple[int | None, dict[str, str], bytes]:
        if len(site.asked) < 2:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            handler.close_connection = True
            return None, {}, b""
        return 200, {}, b"bytes"

    site.answers["/a"] = cut
    assert web.read(site.url + "a") == b"bytes"
    with pytest.raises(InputUnavailable, match="3 times"):
        web.read(f"http://127.0.0.1:{free_port()}/a")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "999999"}])
def test_too_many_bytes_are_not_read(site: kit.Site, web: Web, headers: dict[str, str]) -> None:
    sent = []

    def flood(handler: Any) -> tuple[None, dict[str, str], bytes]:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) or "Connection: close\r\n"
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
        handler.close_connection = True
        try:
            for _ in range(20_000):
                handler.wfile.write(b"x" * 5_000)
                sent.append(1)
        except OSError:
            pass
        return None, {}, b""

    site.answers["/a"] = flood
    with pytest.raises(TooManyBytes, match="5,000"):
        web.read(site.url + "a")
    assert len(sent) < 20_000


def test_silence_and_dripping_end(site: kit.Site) -> None:
    def drip(handler: Any) -> tuple[None, dict[str, str], bytes]:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            for _ in range(40):
                handler.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass
        handler.close_connection = True
        return None, {}, b""

    once = RetryPolicy(connect=1.0, read=0.3, response=0.6, total=2.0, attempts=1)
    web = Web(Limits(), LOOPBACK, once)
    site.answers["/drip"] = drip
    site.answers["/silence"] = lambda _: time.sleep(1) or (200, {}, b"")
    for path in ("drip", "silence"):
        with pytest.raises(InputUnavailable, match="took too long"):
            web.read(site.url + path)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "169.254.169.254", "10.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "2130706433"],
)
def test_private_addresses_are_refused_unless_they_are_allowed(site: kit.Site, host: str) -> None:
    site.serve({"a": b"secret"})
    web = Web(Limits(), (), SOON)
    with pytest.raises(AddressRefused, match="ANYSEEK_URL_NETWORKS"):
        web.read(f"http://{host}:{site.server.server_address[1]}/a")
    assert site.asked == []


def test_redirects_to_private_addresses_are_refused(site: kit.Site) -> None:
    other = parse_networks("127.0.0.1/32")
    for target in ("http://127.0.0.2/a", "http://10.0.0.1/", "ftp://127.0.0.1/a", "file:///etc/passwd"):
        site.answers["/a"] = (302, {"Location": target}, b"")
        with pytest.raises(AddressRefused):
            Web(Limits(), other, SOON).read(site.url + "a")


def test_the_address_that_was_checked_is_the_one_connected_to(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that first leads somewhere public, and to this machine when it is asked again."""
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def rebinding(host: str, port: int, *options: Any, **more: Any) -> list[Any]:
        if host != "rebinding.example":
            return look_up(host, port, *options, **more)
        asked.append(host)
        address = "93.184.215.14" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    site.serve({"a": b"secret"})
    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    once = RetryPolicy(connect=0.3, attempts=1)
    with pytest.raises((InputUnavailable, AddressRefused)):
        Web(Limits(), (), once).read(f"http://rebinding.example:{site.server.server_address[1]}/a")
    assert (site.asked, asked) == ([], ["rebinding.example"])


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, reached: bool) -> None:
    assert is_allowed(ipaddress.ip_address(address), ()) is reached
    assert is_allowed(ipaddress.ip_address(address), parse_networks("0.0.0.0/0, ::/0"))


@pytest.mark.parametrize(
    "url", ["http://", "http:///a", "http://user:word@example.org/a", "http://[::1", "http://a:99999/", "x" * 9]
)
def test_what_is_no_address_is_refused(web: Web, url: str) -> None:
    with pytest.raises(AddressRefused):
        web.resolve(url)


def test_addresses_are_told_from_paths() -> None:
    assert is_url("HTTPS://example.org/a")
    assert not is_url("http/a.png")
    with pytest.raises(AddressRefused, match="characters"):
        Web(Limits()).resolve("http://example.org/" + "a" * 3_000)
