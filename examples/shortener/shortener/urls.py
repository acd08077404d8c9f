"""Where links may lead, what short names there may be, and the converter of routes for them."""

import ipaddress
import re
import secrets
import string
from urllib.parse import quote, urlsplit

from flask import current_app, request
from werkzeug.routing import BaseConverter, IntegerConverter
from wtforms import ValidationError

SLUG = r"[A-Za-z0-9_-]{1,64}"
SLUG_LENGTH = 7
LONGEST_TARGET = 2048
KEPT_WORDS = """
    about admin api assets contact docs help imprint jobs legal metrics monitor openapi privacy socketio terms
"""
DEFAULT_PORTS = {"http": 80, "https": 443}
PATH_SAFE = "/:@!$&'()*+,;=-._~%"


class SlugConverter(BaseConverter):
    regex = SLUG


class IdConverter(IntegerConverter):
    """A number that fits the database's INTEGER: others are not found."""

    regex = r"[1-9][0-9]{0,8}"


def register_converters(app):
    app.url_map.converters.update(slug=SlugConverter, id=IdConverter)


def reserved_slugs(app):
    """The first words of all our own paths, and some that later pages may need."""
    first = {rule.rule.split("/")[1].lower() for rule in app.url_map.iter_rules()}
    return {word for word in first if word and "<" not in word} | set(KEPT_WORDS.split())


def random_slug():
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(SLUG_LENGTH))


def check_slug(slug):
    """The short name, or None if one is to be made up. Raises ValidationError with a sentence for the user."""
    slug = slug.strip()
    if not slug:
        return None
    if not 3 <= len(slug) <= 64:
        raise ValidationError(f"A short name has 3 to 64 characters; this one has {len(slug)}.")
    if not re.fullmatch(SLUG, slug):
        raise ValidationError("A short name has only letters a–z, digits, - and _.")
    if slug.lower() in current_app.config["RESERVED_SLUGS"]:
        raise ValidationError(f"The short name {slug} is needed by this site itself. Choose another.")
    return slug


def own_origin():
    return current_app.config["PUBLIC_URL"] or request.host_url.rstrip("/")


def short_url(link):
    return f"{own_origin()}/{link.slug}"


def own_hosts():
    """Under which hosts this site is known: links to them would lead in circles."""
    return {request.host.lower(), urlsplit(own_origin()).netloc.lower()}


def check_target(value, hosts):
    """The address in its normal form. Raises ValidationError with a sentence for the user."""
    target = value.strip()
    if not target:
        raise ValidationError("Enter the address that the link leads to.")
    if len(target) > LONGEST_TARGET:
        raise ValidationError(f"An address may have at most {LONGEST_TARGET} characters.")
    if any(char.isspace() for char in target) or not target.isprintable() or "\\" in target:
        raise ValidationError("An address has no blanks, backslashes or invisible characters in it.")
    try:
        parts = urlsplit(target)
        port, username, password = parts.port, parts.username, parts.password
    except ValueError:
        raise ValidationError("This is not an address: something is wrong with its host or port.") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.netloc:
        raise ValidationError("Only http and https addresses can be shortened: https://…")
    if username is not None or password is not None:
        raise ValidationError(
            "An address with a user name or password in it would give them to everybody: leave them out."
        )
    host = check_host(parts)
    netloc = host if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    if is_own(host, port or DEFAULT_PORTS[parts.scheme], hosts):
        raise ValidationError("This address is one of this site: a short link to it would lead round in circles.")
    path = quote(parts.path, safe=PATH_SAFE) or "/"
    query = "?" + quote(parts.query, safe=PATH_SAFE + "?") if parts.query else ""
    fragment = "#" + quote(parts.fragment, safe=PATH_SAFE + "?") if parts.fragment else ""
    target = f"{parts.scheme}://{netloc}{path}{query}{fragment}"
    if len(target) > LONGEST_TARGET:
        raise ValidationError(f"An address may have at most {LONGEST_TARGET} characters.")
    return target


def check_host(parts):
    host = (parts.hostname or "").rstrip(".")
    if parts.netloc.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError:
            raise ValidationError(f"[{host}] is not an IPv6 address.") from None
    try:
        host = host.encode("idna").decode().lower() if host else ""
    except UnicodeError:
        host = ""
    if not re.fullmatch(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?", host):
        raise ValidationError(f"{(parts.hostname or '')[:80]!r} is not a host's name.")
    if host.rpartition(".")[2].isdigit() or re.fullmatch(r"0x[0-9a-f]+", host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValidationError(f"{host!r} is not an IPv4 address.") from None
    return host


def is_own(host, port, hosts):
    for own in hosts:
        parts = urlsplit(f"//{own}")
        if known_as(host) == known_as(parts.hostname or "") and port in ({parts.port} if parts.port else {80, 443}):
            return True
    return False


def known_as(host):
    """One name for all by which this machine reaches itself."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    address = getattr(address, "ipv4_mapped", None) or address
    return "localhost" if address.is_loopback or address.is_unspecified else str(address)
