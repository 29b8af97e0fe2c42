"""Which network addresses may be reached: public ones, and private ones that a setting allows."""

import ipaddress
import socket
from collections.abc import Sequence

from indexer.errors import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int, allowed: Sequence[Network]) -> list[str]:
    """The addresses of a host, every one of which may be reached.

    One private address among public ones refuses the host: nobody's address book looks like that. Raises
    `AddressRefused`, `socket.gaierror`.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        if not may_be_reached(ipaddress.ip_address(address.partition("%")[0]), allowed):
            raise AddressRefused(
                f"{host!r} is the private address {address}; to read from it all the same, name its network in "
                "ANYSEEK_URL_NETWORKS"
            )
    return addresses


def may_be_reached(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether it is public, also what it wraps: an IPv6 address can stand for an IPv4 one."""
    return all(
        any(one in network for network in allowed if network.version == one.version)
        or (one.is_global and not one.is_multicast and not one.is_reserved)
        for one in _meant(address)
    )


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks as `10.0.0.0/8, fd00::/8`. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())


def _meant(address: Address) -> list[Address]:
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
