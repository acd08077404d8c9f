"""The application's settings: read from the environment, checked at start.

Neither ``DATABASE_URL`` nor ``REDIS_URL`` is needed to try it: what is missing is served by the embedded servers
in ``DATA_DIR``. In production both are set, and so are ``SECRET_KEY`` and ``PUBLIC_URL``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from limits import parse_many
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from decant.errors import ConfigError

from .mail.addresses import sender
from .mail.server import MailServer

__all__ = ["Settings", "load_settings"]


def _database_url(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
        raise ValueError("a PostgreSQL URL is needed, as in postgresql://user:password@host:5432/name")
    return value.replace("postgres://", "postgresql://", 1)


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("a Redis URL is needed, as in redis://host:6379/0, rediss://… or unix:///path.sock")
    return value


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("an origin is needed: scheme and host, no path, as in https://sho.rt")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an origin has no user name or password in it")
    _ = parts.port  # raises ValueError if it is out of range
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _secret_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 16:
        raise ValueError(
            "at least 16 characters are needed, as from: python -c 'import secrets; print(secrets.token_hex())'"
        )
    return value


def _origins(value: str) -> str:
    if value == "*":
        return value
    return ",".join(_public_url(origin.strip()) for origin in value.split(","))


def _smtp_url(value: SecretStr) -> SecretStr:
    MailServer.parse(value.get_secret_value())
    return value


def _rate(value: str) -> str:
    try:
        parse_many(value)
    except ValueError:
        raise ValueError("limits are written as: 10 per minute; 100 per day") from None
    return value


Rate = Annotated[str, AfterValidator(_rate)]


class Settings(BaseSettings):
    """One attribute per environment variable of the same name."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", frozen=True, env_ignore_empty=True)

    DATABASE_URL: Annotated[str, AfterValidator(_database_url)] | None = None
    """``postgresql://…``; embedded when not set."""
    DATABASE_POOL_SIZE: int = Field(10, ge=1, le=500)
    """Connections that each web process keeps; as many again may be opened for a while."""
    DATABASE_POOL_TIMEOUT_S: float = Field(5.0, gt=0, le=60)
    """How long a request waits for a connection before it is answered with 503."""
    REDIS_URL: Annotated[str, AfterValidator(_redis_url)] | None = None
    """``redis://…``; embedded when not set."""
    DATA_DIR: Path = Path(".data")
    """Where the embedded servers keep their data, and a made-up SECRET_KEY."""
    SECRET_KEY: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """Signs the session cookies; shared by all web processes. When not set, one is made and kept in DATA_DIR."""
    PUBLIC_URL: Annotated[str, AfterValidator(_public_url)] | None = None
    """The origin that people see, for short links and the check of where forms come from; else the request's own."""
    CORS_ORIGINS: Annotated[str, AfterValidator(_origins)] | None = None
    """Whose pages' scripts may use the API: origins with commas between them, or ``*``. Not set: only our own."""
    PROXY_HOPS: int = Field(0, ge=0, le=10)
    """How many proxies in front set ``X-Forwarded-For``, ``-Proto`` and ``-Host``; 0 ignores these headers."""
    SESSION_COOKIE_SECURE: bool | None = None
    """``Secure`` on the session cookie. Not set: yes, except for plain HTTP on this very machine (127.0.0.1)."""
    SESSION_LIFETIME_DAYS: int = Field(14, ge=1, le=400)
    """How long a log-in lasts after the last request."""
    REGISTRATION: Literal["open", "closed"] = "open"
    """Whether people may register; otherwise accounts come from ``quart users create``."""
    MIGRATE_ON_START: bool | None = None
    """Bring the database's schema up to date before serving. Not set: only the embedded one."""
    MAX_CONTENT_LENGTH: int = Field(1024 * 1024, ge=1024)
    """Bytes that a request's body may have; more is answered with 413."""
    IMPORT_MAX_MB: int = Field(25, ge=1, le=1000)
    """Megabytes that a file of links may have; requests that bring none keep to MAX_CONTENT_LENGTH."""
    IMPORT_MAX_ROWS: int = Field(100_000, ge=1, le=10_000_000)
    """Rows that a file of links may have."""
    IMPORT_KEEP_DAYS: int = Field(30, ge=1, le=3650)
    """How long an import that has ended is listed, and its refused rows can be had."""
    ARGON2_TIME_COST: int = Field(2, ge=1, le=100)
    """Passes over the memory when a password is hashed; a log-in rehashes what was hashed otherwise."""
    ARGON2_MEMORY_COST_KIB: int = Field(19_456, ge=64, le=4_194_304)
    """Memory of one password hash, in KiB."""
    ARGON2_PARALLELISM: int = Field(1, ge=1, le=64)
    """Lanes of one password hash."""
    HASH_THREADS: int = Field(2, ge=1, le=64)
    """Passwords hashed at the same time; up to 100 more queue, then log-ins are answered with 503."""
    RATE_LOGIN_ACCOUNT: Rate = "10 per 5 minutes"
    """Log-ins and changes of the password that are tried for one account."""
    RATE_LOGIN_ADDRESS: Rate = "60 per 5 minutes"
    """Log-ins that are tried from one address."""
    RATE_REGISTER: Rate = "20 per hour"
    """Registrations that are sent from one address."""
    RATE_LINKS: Rate = "60 per minute; 2000 per day"
    """Links that a user makes."""
    RATE_IMPORTS: Rate = "20 per hour"
    """Files of links that a user imports."""
    RATE_API: Rate = "600 per minute"
    """Requests to the API with one token, or by one user in our own pages."""
    RATE_API_REFUSED: Rate = "60 per minute"
    """Requests to the API from one address with tokens that are not valid."""
    CPU_PROCESSES: int = Field(1, ge=1, le=64)
    """Processes that each web process starts for drawing QR codes; up to 100 drawings more queue, then 503."""
    PREVIEWS: Literal["on", "off"] = "on"
    """Whether workers look at the pages that links lead to, for their titles and descriptions."""
    SMTP_URL: Annotated[SecretStr, AfterValidator(_smtp_url)] | None = None
    """``smtp://user:password@host:587?starttls=1`` or ``smtps://…``: who delivers mail. Not set: none is offered."""
    MAIL_FROM: Annotated[str, AfterValidator(sender)] | None = None
    """Whom mail is from: ``Decant <links@sho.rt>``. It is needed with SMTP_URL, and so is PUBLIC_URL."""
    RATE_MAIL: Rate = "5 per hour"
    """Mails that a user has sent to an address that is to be confirmed."""
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    LOG_FORMAT: Literal["console", "json"] = "console"


def _shown(key: str, value: object) -> object:
    """What an error message may show of a wrong value: no key, no password."""
    if key in ("SECRET_KEY", "SMTP_URL"):
        return "(hidden)"
    if key.endswith("_URL") and isinstance(value, str):
        try:
            parts = urlsplit(value)
            if parts.password is not None:
                netloc = f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"
                return urlunsplit(parts._replace(netloc=netloc))
            if "@" in value:  # what cannot be taken apart may have one all the same
                return f"***@{value.rpartition('@')[2]}"
        except ValueError:
            return "(cannot be parsed)"
    return value


def load_settings(config: Mapping[str, Any] | None = None) -> Settings:
    """The settings of the environment; ``config`` wins over it.

    :raises ConfigError: for the first wrong value, by the name of its key.
    """
    given = {key: value for key, value in (config or {}).items() if key in Settings.model_fields}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        allowed = first["msg"].removeprefix("Value error, ")
        raise ConfigError(key, _shown(key, first["input"]), allowed) from None
    for key in ("MAIL_FROM", "PUBLIC_URL"):
        if settings.SMTP_URL is not None and getattr(settings, key) is None:
            raise ConfigError(key, None, "it is needed where SMTP_URL is set: for the sender and the links in mails")
    return settings


def secret_key(settings: Settings) -> str:
    """The configured SECRET_KEY, or the one kept in DATA_DIR, made at the first start and readable by its owner.

    :raises ConfigError: if there is none and none can be kept.
    """
    if settings.SECRET_KEY is not None:
        return settings.SECRET_KEY.get_secret_value()
    path = settings.DATA_DIR / "secret_key"
    try:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        fresh = settings.DATA_DIR / f".secret_key.{secrets.token_hex(4)}"
        fresh.touch(mode=0o600, exist_ok=False)
        fresh.write_text(secrets.token_hex())
        try:
            path.hardlink_to(fresh)  # the first of several starting processes wins, and none reads half a key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError("SECRET_KEY", None, f"it is not set, and none can be kept in {path}: {error}") from error
