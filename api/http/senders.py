"""The address of a request's client, for rate limits and access control, and whether a proxy forwarded the request.

uvicorn replaces a proxy's address by the one in `X-Forwarded-For` if ANYSEEK_SERVING_PROXIES names
the proxy. Anyone else may claim any address there, and is not trusted.
"""

import ipaddress
from functools import lru_cache

from starlette.requests import HTTPConnection

from anyseek.api.errors import ProxyRefused
from anyseek.search.settings import Networks

PEER = "peer"  # in a request's state: the address of the connection itself
_IPV6_PREFIX_BITS = 64  # a client usually has a whole /64 network
_MAX_QUOTED = 100


def address_of(request: HTTPConnection) -> str:
    """The client's address; empty if the server does not know it."""
    return request.client.host if request.client else ""


@lru_cache(maxsize=1_024)
def rate_limit_key(address: str) -> str:
    """The key of an address in rate limits: itself, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_QUOTED]
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX_BITS), strict=False))


@lru_cache(maxsize=64)  # parsing an address is the slowest check
def is_loopback_name(name: str) -> bool:
    """Whether a host name or an address means this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def proxy_header(request: HTTPConnection) -> str | None:
    """The name of the first header that only proxies send, or None."""
    names = (name for name in request.headers if name in ("forwarded", "via") or name.startswith("x-forwarded-"))
    return next(names, None)


def check_local_sender(request: HTTPConnection, proxies: Networks) -> None:
    """Check that a request comes from this machine, directly or through one of `proxies`. Raises `ProxyRefused`."""
    header = proxy_header(request)
    if header is None:
        return
    if not (_is_in_networks(request.scope["state"].get(PEER, ""), proxies) and _has_complete_forwarding(request)):
        raise ProxyRefused(
            "until the first API key is created, this service refuses forwarded requests, and this one has "
            f"the header {header[:_MAX_QUOTED]!r}; create a key with `anyseek keys create NAME --scope admin`, or name "
            "the proxy in ANYSEEK_SERVING_PROXIES and have it send X-Forwarded-For"
        )
    if not is_loopback_name(address_of(request)):
        raise ProxyRefused(
            "until the first API key is created, this service answers only this machine, not "
            f"{address_of(request)[:_MAX_QUOTED]!r} behind a proxy; create a key with "
            "`anyseek keys create NAME --scope admin`"
        )


def _is_in_networks(address: str, networks: Networks) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def _has_complete_forwarding(request: HTTPConnection) -> bool:
    """Whether no entry of `X-Forwarded-For` is empty; for an empty one uvicorn keeps the proxy's address."""
    addresses = ",".join(request.headers.getlist("x-forwarded-for"))
    return all(address.strip() for address in addresses.split(","))
