"""Where a link may lead: one normal form for every address, and a sentence for each that is refused."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import SplitResult, quote, urlsplit

import idna

from ..web.forms import Refused

__all__ = ["LONGEST_TARGET", "target"]

LONGEST_TARGET = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What a path, a query or a fragment may have besides letters and digits (RFC 3986); the rest is percent-encoded.
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"
_QUERY_SAFE = _PATH_SAFE + "?"


def target(value: str, *, own_hosts: frozenset[str] | set[str]) -> str:
    """The address in its normal form: lower-case scheme and host, the host in ASCII (IDNA), no default port.

    ``own_hosts`` are the ``host`` or ``host:port`` that this application answers to.

    :raises Refused: if it is not an http or https address of another site.
    """
    text = value.strip()
    if not text:
        raise Refused("Enter the address that the link leads to.")
    if len(text) > LONGEST_TARGET:
        raise Refused(f"An address may have at most {LONGEST_TARGET} characters; this one has {len(text)}.")
    _refuse_strange_characters(text)
    parts = _split(text)
    host, port = _host(parts), _port(parts)
    netloc = _netloc(host, port)
    ours, known = {_own(own_host) for own_host in own_hosts}, _known_as(host)
    if _netloc(known, port) in ours or (port is None and _netloc(known, _DEFAULT_PORTS[parts.scheme]) in ours):
        raise Refused("This address is one of this site: a short link to it would lead round in circles.")
    path = quote(parts.path, safe=_PATH_SAFE) or "/"
    query = f"?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else ""
    fragment = f"#{quote(parts.fragment, safe=_QUERY_SAFE)}" if parts.fragment else ""
    address = f"{parts.scheme}://{netloc}{path}{query}{fragment}"
    if len(address) > LONGEST_TARGET:
        raise Refused(f"An address may have at most {LONGEST_TARGET} characters; encoded, this one has {len(address)}.")
    return address


def _netloc(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


def _own(own_host: str) -> str:
    """In the form in which targets are compared."""
    try:
        parts = urlsplit(f"//{own_host}")
        return _netloc(_known_as(_host(parts)), parts.port)
    except ValueError:  # Refused is one
        return own_host


def _known_as(host: str) -> str:
    """The host itself; one name for all of those by which this machine reaches itself."""
    if host.endswith(".localhost"):
        return "localhost"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    address = getattr(address, "ipv4_mapped", None) or address
    return "localhost" if address.is_loopback or address.is_unspecified else host


def _refuse_strange_characters(text: str) -> None:
    if any(char.isspace() for char in text):
        raise Refused("An address has no blanks in it: write %20 instead.")
    # Control characters, private and unassigned ones, and halves of surrogate pairs.
    if not text.isprintable():
        raise Refused("An address has no control characters or other invisible characters in it.")
    if "\\" in text:
        raise Refused("An address has no backslash in it: write / or %5C instead.")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        username, password = parts.username, parts.password
    except ValueError:
        raise Refused("This is not an address: something is wrong with its brackets or its host.") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        if "://" not in text and "." in text.split("/")[0]:
            raise Refused("Write the address with its scheme: https://…")
        raise Refused("Only http and https addresses can be shortened: https://…")
    if username is not None or password is not None:
        raise Refused("An address with a user name or password in it would give them to everybody: leave them out.")
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        raise Refused("The address's port must be a number from 1 to 65535.") from None
    if port == 0:
        raise Refused("The address's port must be a number from 1 to 65535.")
    return None if port == _DEFAULT_PORTS[parts.scheme] else port


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise Refused("The address has no host: https://example.com/…")
    if parts.netloc.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError:
            raise Refused(f"[{host}] is not an IPv6 address.") from None
    try:
        encoded = _ascii(host)
    except (idna.IDNAError, UnicodeError):
        raise Refused(f"{host!r} is not a host's name.") from None
    return _ipv4(encoded) or encoded


@lru_cache(maxsize=1024)
def _ascii(host: str) -> str:
    """In ASCII (IDNA): a third of what checking an address takes, and an import has the same hosts again and again."""
    return idna.encode(host, uts46=True, transitional=False).decode().lower()


def _ipv4(host: str) -> str | None:
    last = host.rpartition(".")[2]
    if not (last.isdigit() or last.startswith("0x")):
        return None
    try:  # browsers would read 0x7f.1 and 2130706433 as addresses too: refused, they only serve to disguise one
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise Refused(f"{host!r} is not an IPv4 address: write it as four numbers, as in 192.0.2.1.") from None
