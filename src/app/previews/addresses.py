"""Which addresses a fetch may reach: only what is public, whatever a name resolves to or a redirect asks for.

``ipaddress.is_global`` is not used: it is True for some that are not public (multicast, 192.0.0.8, and what embeds an
IPv4 address: 2002::/16, 64:ff9b::/96), and differs between versions of Python.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

__all__ = ["PORTS", "Forbidden", "Guard", "is_public"]

PORTS = frozenset({80, 443})

_DENIED_4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT; a cloud's metadata is at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number, but a cloud's own service to its machines
        "169.254.0.0/16",  # link-local; clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
# Only 2000::/3 is given out for public use: that leaves out ::1, ::ffff:0:0/96 (IPv4-mapped), 64:ff9b::/96 and
# 64:ff9b:1::/48 (NAT64), 100::/64, fc00::/7 (private), fe80::/10 (link-local), fec0::/10 and ff00::/8 (multicast).
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_DENIED_6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo (embeds IPv4), ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: embeds IPv4
        "3fff::/20",  # documentation
        "3ffe::/16",  # the 6bone, given back
    )
]


class Forbidden(OSError):
    """An address that a fetch may not reach."""


def is_public(address: str) -> bool:
    """Whether an IP address may be reached; what is no address, or names an interface (``fe80::1%eth0``), may not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _DENIED_4)
    if parsed.scope_id is not None or parsed not in _PUBLIC_6:
        return False
    return not any(parsed in network for network in _DENIED_6)


class Guard:
    """Makes sockets for aiohttp's ``socket_factory``, which sees every address that is connected to, literals too.

    A subclass that allows more is for tests, whose servers listen on loopback.
    """

    ports: frozenset[int] = PORTS

    def __init__(self) -> None:
        self.refused: list[str] = []

    def allows(self, address: str, port: int) -> bool:
        return is_public(address) and port in self.ports

    def __call__(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for one result of ``getaddrinfo``.

        :raises Forbidden: if it may not be connected to.
        """
        family, kind, protocol, _, where = info
        address, port = where[0], where[1]
        if family not in (socket.AF_INET, socket.AF_INET6) or not self.allows(address, port):
            self.refused.append(address)
            raise Forbidden(f"{address} is not a public address")
        return socket.socket(family, kind, protocol)
