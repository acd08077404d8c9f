"""Addresses of mail, in one normal form."""

from __future__ import annotations

import re
from email.utils import parseaddr

import idna

__all__ = ["LONGEST", "address", "sender"]

LONGEST = 254  # RFC 5321
# What HTML's own <input type=email> takes; quoted local parts and comments are for museums.
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")


def address(value: str) -> str:
    """The address with its domain in lower-case ASCII (IDNA), without the dot that may end it.

    :raises ValueError: if it is none; the text is a sentence for whoever gave it.
    """
    local, at, domain = value.strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or local.startswith(".") or local.endswith(".") or ".." in local:
        raise ValueError("This is not an e-mail address: ada@example.com")
    try:
        host = idna.encode(domain, uts46=True, transitional=False).decode().lower().removesuffix(".")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("The part of the address after the @ is not a domain.") from None
    if "." not in host or host.rpartition(".")[2].isdigit():
        raise ValueError("The part of the address after the @ is not a domain.")
    made = f"{local}@{host}"
    if len(made) > LONGEST:
        raise ValueError(f"An e-mail address may have at most {LONGEST} characters; this one has {len(made)}.")
    return made


def sender(value: str) -> str:
    """``Name <address>``, or an address alone, as it is written.

    :raises ValueError: if it is none.
    """
    _, found = parseaddr(value)
    if not value.isprintable() or "@" not in found:
        raise ValueError("a sender is needed, as in: Decant <links@sho.rt>")
    address(found)
    return value
