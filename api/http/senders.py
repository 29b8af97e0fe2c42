"""Where a request comes from: the address that rates count, and whether a proxy passed it on from another machine.

uvicorn puts what a proxy says in `X-Forwarded-For` in place of the proxy's own address if ANYSEEK_SERVING_PROXIES names
the proxy. Anyone else may claim any address there, and is not believed.
"""

import ipaddress
from functools import lru_cache

from starlette.requests import HTTPConnection

from anyseek.api.errors import ProxyRefused
from anyseek.search.settings import Networks

PEER = "peer"  # in a request's state, the address that its connection really has
_BY_FIRST_BITS = 64  # of IPv6: whoever has one such address has the whole network
_LONGEST = 100


def address_of(request: HTTPConnection) -> str:
    """The client's address; empty where the server does not say."""
    return request.client.host if request.client else ""


@lru_cache(maxsize=1_024)
def counted_as(address: str) -> str:
    """The name under which rates count an address: itself, or the /64 network of an IPv6 address."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:_LONGEST]
    if isinstance(known, ipaddress.IPv4Address):
        return address
    if known.ipv4_mapped:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(known), _BY_FIRST_BITS), strict=False))


@lru_cache(maxsize=64)  # reading an address takes longer than all else that is looked at here
def is_loopback_name(name: str) -> bool:
    """Whether a host name or an address means this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def mark_of_proxy(request: HTTPConnection) -> str | None:
    """The first header that only proxies send; None if there is none."""
    marks = (name for name in request.headers if name in ("forwarded", "via") or name.startswith("x-forwarded-"))
    return next(marks, None)


def check_from_here(request: HTTPConnection, proxies: Networks) -> None:
    """Check that no proxy passed a request on, or one of `proxies` did so from this machine. Raises `ProxyRefused`."""
    mark = mark_of_proxy(request)
    if mark is None:
        return
    if not (_is_in(request.scope["state"].get(PEER, ""), proxies) and _is_stated(request)):
        raise ProxyRefused(
            "while no API key has existed, this service answers nothing that a proxy passed on, and this request has "
            f"the header {mark[:_LONGEST]!r}; create a key with `anyseek keys create NAME --scope admin`, or name the "
            "proxy in ANYSEEK_SERVING_PROXIES and have it send X-Forwarded-For"
        )
    if not is_loopback_name(address_of(request)):
        raise ProxyRefused(
            "while no API key has existed, this service answers only this machine, not "
            f"{address_of(request)[:_LONGEST]!r} behind a proxy; create a key with "
            "`anyseek keys create NAME --scope admin`"
        )


def _is_in(address: str, networks: Networks) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(known in network for network in networks)


def _is_stated(request: HTTPConnection) -> bool:
    """Whether `X-Forwarded-For` names an address everywhere; where one is empty uvicorn leaves the proxy's own."""
    stated = ",".join(request.headers.getlist("x-forwarded-for"))
    return all(address.strip() for address in stated.split(","))
