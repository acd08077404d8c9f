"""Whom a request comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from ..context import current_app, current_request
from ..errors import ConfigError
from .constants import ConfigVars

__all__ = ["get_qualified_name", "get_remote_address", "is_trusted", "trusted_proxies"]

_HELP = "a number of proxies, or their networks, as ['10.0.0.0/8', '::1']"
Trusted = int | tuple[Any, ...]


def trusted_proxies(config: Mapping[str, Any]) -> Trusted:
    """``TRUSTED_PROXIES``: a number, or networks.

    :raises ConfigError: if it is neither.
    """
    value = config.get(ConfigVars.TRUSTED_PROXIES) or 0
    if isinstance(value, str):
        value = int(value) if value.strip().isdigit() else [part.strip() for part in value.split(",")]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        try:
            return _networks(tuple(map(str, value)))
        except ValueError:
            pass
    raise ConfigError(ConfigVars.TRUSTED_PROXIES, value, _HELP)


@lru_cache(maxsize=64)
def _networks(given: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(ip_network(network, strict=False) for network in given)


def get_remote_address() -> str:
    """The address of the client, or 127.0.0.1 if there is none.

    Follows Flask-Limiter's, and looks behind proxies: ``X-Forwarded-For`` is read from its end, as far as
    ``TRUSTED_PROXIES`` (of the configuration) goes, so what a client writes into it itself is never believed. With a
    number, that many proxies each have added one address; with networks, addresses in them are those of proxies.
    """
    request = current_request()
    peer = request.remote_addr or "127.0.0.1"
    trusted = trusted_proxies(current_app().config)
    if not trusted:
        return str(peer)
    forwarded = [part.strip() for line in request.headers.getlist("X-Forwarded-For") for part in line.split(",")]
    return _nth(peer, forwarded, trusted) if isinstance(trusted, int) else _outside(peer, forwarded, trusted)


def _nth(peer: str, forwarded: list[str], count: int) -> str:
    """Shorter than ``count``: it did not come through the proxies, so nothing of it is believed."""
    if len(forwarded) < count:
        return peer
    found = _address(forwarded[-count])
    return peer if found is None else str(found)


def _outside(peer: str, forwarded: list[str], networks: tuple[Any, ...]) -> str:
    """The last address that is not a trusted proxy's."""
    last = peer
    for text in (peer, *reversed(forwarded)):
        found = _address(text)
        if found is None:
            break
        last = str(found)
        if not any(found in network for network in networks):
            break
    return last


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address with or without port and brackets; one of IPv4 in IPv6 is that of IPv4."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_trusted(address: str, trusted: Trusted) -> bool:
    """Whether the peer with this address is one of our proxies."""
    if isinstance(trusted, int):
        return trusted > 0
    found = _address(address)
    return found is not None and any(found in network for network in trusted)


def get_qualified_name(function: Callable[..., Any]) -> str:
    """What a function is known by: module, name and qualified name, as the views of one class share the last."""
    kind = type(function)
    name = getattr(function, "__name__", kind.__name__)
    return f"{getattr(function, '__module__', kind.__module__)}.{name}.{getattr(function, '__qualname__', name)}"
