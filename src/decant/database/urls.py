"""Database URLs: from those of Flask applications to those of async drivers."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ..errors import ConfigError, MissingExtra, missing_extra

__all__ = ["async_url", "asyncpg_arguments", "is_memory", "plain_drivername", "require_driver"]

_DIALECTS: Final = {"postgres": "postgresql"}
_DRIVERS: Final = {"postgresql": "asyncpg", "sqlite": "aiosqlite", "mysql": "aiomysql", "mariadb": "aiomysql"}
_SYNC: Final = {
    "postgresql": {"psycopg2", "psycopg2cffi", "pg8000"},
    "sqlite": {"pysqlite"},
    "mysql": {"mysqldb", "pymysql", "mysqlconnector", "cymysql", "pyodbc", "mariadbconnector"},
}
_EXTRAS: Final = {"asyncpg": "database", "aiosqlite": "sqlite"}


def async_url(value: str | URL, key: str, instance_path: Path | None = None, *, unmodified: bool = False) -> URL:
    """The URL with an async driver: ``postgresql://`` becomes ``postgresql+asyncpg://``, and so on.

    A driver that the URL names is kept. A relative SQLite path is relative to ``instance_path``, which is made. libpq's
    parameters (``sslmode``, ``application_name``, ``connect_timeout``, ``options``) become asyncpg's.

    :param key: the configuration key, for messages.
    :param unmodified: whether it is of an application written for blocking drivers: then the async driver is the one
        that all such URLs are mapped to (``decant serve --faces``), where they are.
    :raises ConfigError: if it is no database URL, or names a driver that blocks or that SQLAlchemy does not know.
    :raises MissingExtra: if the driver is not installed.
    """
    try:
        url = make_url(value)
    except (ArgumentError, ValueError) as error:  # ValueError: of a port that is no number
        raise ConfigError(
            key, _masked(value), "a database URL is needed, as in postgresql://user@host/database"
        ) from error
    dialect, _, driver = url.drivername.partition("+")
    dialect = _DIALECTS.get(dialect, dialect)
    if driver in _SYNC.get("mysql" if dialect == "mariadb" else dialect, ()):
        driver = _mapped(url)
    if driver in _SYNC.get("mysql" if dialect == "mariadb" else dialect, ()):
        good = f"{dialect}+{_DRIVERS[dialect]}"
        raise ConfigError(key, str(url), f"{driver} blocks the event loop; write {dialect}:// or {good}://")
    if not driver and unmodified:
        driver = _mapped_plain(url.set(drivername=dialect))
    driver = driver or _DRIVERS.get(dialect, "")
    if driver:
        require_driver(driver)
        url = url.set(drivername=f"{dialect}+{driver}")
    try:
        url.get_dialect()
    except NoSuchModuleError as error:
        raise ConfigError(key, str(url), "SQLAlchemy has no such database or driver, or it is not installed") from error
    if dialect == "sqlite" and instance_path is not None and not is_memory(url):
        return _in_folder(url, instance_path)
    return url


def _mapped(url: URL) -> str:
    """The driver that SQLAlchemy has for a URL: another than it names, where ``decant serve --async-db`` maps it."""
    try:
        return str(url.get_dialect().driver)
    except NoSuchModuleError:
        return url.get_driver_name()


def _mapped_plain(url: URL) -> str:
    """The async driver that a URL without one is mapped to, if it is installed."""
    try:
        dialect = url.get_dialect()
    except NoSuchModuleError:
        return ""
    return str(dialect.driver) if dialect.is_async and importlib.util.find_spec(dialect.driver) else ""


def plain_drivername(value: str | URL) -> str:
    """The dialect, and perhaps the driver, that a valid URL names; ``postgres`` is the old name of ``postgresql``."""
    dialect, plus, driver = make_url(value).drivername.partition("+")
    return _DIALECTS.get(dialect, dialect) + plus + driver


def _masked(value: Any) -> Any:
    """What cannot be parsed, without what may be its password."""
    return re.sub(r":.*@", ":***@", value) if isinstance(value, str) else value


def require_driver(driver: str) -> None:
    """Import a driver, or raise what tells how to install it."""
    module = "psycopg" if driver == "psycopg_async" else driver
    if module not in {*_DRIVERS.values(), "psycopg", "asyncmy"}:
        return  # some third party's dialect: SQLAlchemy loads it
    try:
        importlib.import_module(module)
    except ImportError as error:
        if module in _EXTRAS:
            raise missing_extra("decant.database", _EXTRAS[module], error) from error
        raise MissingExtra(f"decant.database needs {module!r}: pip install {module}", name=module) from error


def is_memory(url: URL) -> bool:
    """Whether a SQLite URL names no file."""
    name = url.database or ""
    return name in {"", ":memory:"} or (name.startswith("file:") and url.query.get("mode") == "memory")


def _in_folder(url: URL, folder: Path) -> URL:
    name = url.database or ""
    is_uri = bool(url.query.get("uri")) and name.startswith("file:")
    path = Path(name.removeprefix("file:") if is_uri else name)
    if path.is_absolute():
        return url
    folder.mkdir(parents=True, exist_ok=True)
    return url.set(database=("file:" if is_uri else "") + str(folder / path))


def asyncpg_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """Take libpq's parameters out of a URL for asyncpg, as the arguments of ``asyncpg.connect``."""
    query = dict(url.query)
    arguments: dict[str, Any] = {}
    settings: dict[str, str] = {}
    if "sslmode" in query:
        query.setdefault("ssl", query.pop("sslmode"))
    if "connect_timeout" in query:
        arguments["timeout"] = float(str(query.pop("connect_timeout")))
    if "application_name" in query:
        settings["application_name"] = str(query.pop("application_name"))
    settings.update(_options(str(query.pop("options", ""))))
    query.pop("client_encoding", None)  # asyncpg has UTF-8 only
    if settings:
        arguments["server_settings"] = settings
    return url.set(query=query), arguments


def _options(value: str) -> dict[str, str]:
    """``-c search_path=app -c statement_timeout=5s`` as a dictionary."""
    words = shlex.split(value)
    pairs = [word for word in (word.removeprefix("-c").removeprefix("--") for word in words) if "=" in word]
    return {name: text for name, _, text in (pair.partition("=") for pair in pairs)}
