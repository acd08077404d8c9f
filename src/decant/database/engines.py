"""Engines: one per bind key, per application and per event loop, disposed with their loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary, finalize

from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, async_engine_from_config
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool, StaticPool

from ..bridge import flow
from ..errors import ConfigError
from .pool import BridgedQueuePool
from .unavailable import watch
from .urls import async_url, asyncpg_arguments, is_memory, plain_drivername

__all__ = ["Engines", "engine_options", "make_engine"]

CONNECT_TIMEOUT_S: Final = 10.0
COMMAND_TIMEOUT_S: Final = 30.0
_DISPOSE_TIMEOUT_S: Final = 5.0
logger = logging.getLogger("decant.database")
Options = dict[str, Any]


def engine_options(
    config: dict[str, Any],
    defaults: Mapping[str, Any],
    instance_path: Path,
    drivernames: dict[str | None, str] | None = None,
    *,
    unmodified: bool = False,
) -> dict[str | None, Options]:
    """What ``create_async_engine`` gets for each bind key, from Flask-SQLAlchemy's configuration keys.

    :param drivernames: gets those of the URLs as they are configured, ``postgresql`` say.
    :param unmodified: whether the application was written for blocking drivers, as :func:`.urls.async_url` has it.
    :raises RuntimeError: if there is neither a URL nor a bind.
    :raises ConfigError: if a value is wrong.
    """
    binds = _mapping(config, "SQLALCHEMY_BINDS")
    main = {**defaults, **_mapping(config, "SQLALCHEMY_ENGINE_OPTIONS")}
    if config.setdefault("SQLALCHEMY_DATABASE_URI", None) is not None:
        main["url"] = config["SQLALCHEMY_DATABASE_URI"]
    found: dict[str | None, Options] = {
        key: {**defaults, **(value if isinstance(value, Mapping) else {"url": value})} for key, value in binds.items()
    }
    if "url" in main:
        found[None] = {**found.get(None, {}), **main}
    if not found:
        raise RuntimeError("Either 'SQLALCHEMY_DATABASE_URI' or 'SQLALCHEMY_BINDS' must be set.")
    echo = config.setdefault("SQLALCHEMY_ECHO", False)
    pgbouncer = bool(config.setdefault("SQLALCHEMY_PGBOUNCER", False))
    for key, options in found.items():
        name = "SQLALCHEMY_DATABASE_URI" if key is None else f"SQLALCHEMY_BINDS[{key!r}]"
        if "url" not in options:
            raise ConfigError(name, options, "a URL, or a dictionary with the key 'url', is needed")
        options.setdefault("echo", echo)
        options.setdefault("echo_pool", echo)
        written = options["url"]
        options["url"] = async_url(written, name, instance_path, unmodified=unmodified)
        if drivernames is not None:
            drivernames[key] = plain_drivername(written)
        options["connect_args"] = dict(options.get("connect_args", {}))
        _set_driver_defaults(options, pgbouncer)
    return found


def _mapping(config: dict[str, Any], key: str) -> Mapping[Any, Any]:
    value = config.setdefault(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(key, value, "a dictionary is needed")
    return value


def _set_driver_defaults(options: Options, pgbouncer: bool) -> None:
    dialect, _, driver = options["url"].drivername.partition("+")
    arguments = options["connect_args"]
    if dialect == "sqlite" and is_memory(options["url"]):
        options["poolclass"] = StaticPool
        arguments.setdefault("check_same_thread", False)
    elif options.get("poolclass", QueuePool) in (QueuePool, AsyncAdaptedQueuePool):
        options["poolclass"] = BridgedQueuePool
    if dialect in {"mysql", "mariadb"}:
        if options["poolclass"] is BridgedQueuePool:
            options.setdefault("pool_recycle", 7200)  # seconds; servers close idle connections after 8 hours
        if "charset" not in options["url"].query:
            options["url"] = options["url"].update_query_dict({"charset": "utf8mb4"})
        arguments.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    elif driver == "asyncpg":
        _set_asyncpg_defaults(options, arguments, pgbouncer)
    elif driver in {"psycopg", "psycopg_async"}:
        if "connect_timeout" not in options["url"].query:
            arguments.setdefault("connect_timeout", int(CONNECT_TIMEOUT_S))
        if pgbouncer:
            arguments.setdefault("prepare_threshold", None)


def _set_asyncpg_defaults(options: Options, arguments: dict[str, Any], pgbouncer: bool) -> None:
    options["url"], found = asyncpg_arguments(options["url"])
    settings = {**found.pop("server_settings", {}), **arguments.get("server_settings", {})}
    for name, value in found.items():
        arguments.setdefault(name, value)
    if settings:
        arguments["server_settings"] = settings
    arguments.setdefault("timeout", CONNECT_TIMEOUT_S)
    arguments.setdefault("command_timeout", COMMAND_TIMEOUT_S)
    if pgbouncer:  # in its transaction mode, a statement may meet another server connection than its preparation
        arguments.setdefault("statement_cache_size", 0)
        arguments.setdefault("prepared_statement_cache_size", 0)
        arguments.setdefault("prepared_statement_name_func", _statement_name)


def _statement_name() -> str:
    return f"__decant_{uuid.uuid4().hex}__"


def make_engine(options: Options) -> AsyncEngine:
    """An engine whose failures are :exc:`~decant.errors.DatabaseUnavailable` where the database is away."""
    engine = async_engine_from_config(dict(options), prefix="")
    watch(engine.sync_engine)
    return engine


class Engines:
    """The engines of one application: those for the first event loop now, so that what is wrong with the options shows
    at once; those for others when they are first asked for there.

    :param options: as :func:`engine_options` returns them.
    :param make: makes one engine.
    :param listen: is called with each engine.
    """

    def __init__(
        self,
        options: dict[str | None, Options],
        make: Callable[[str | None, Options], AsyncEngine],
        listen: Callable[[Engine], None] | None = None,
    ) -> None:
        self.options, self._make, self._listen = options, make, listen
        self._lock = threading.Lock()
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, AsyncEngine]] = WeakKeyDictionary()
        self._keepers: list[_Keeper] = []
        finalize(self, _let_go, self._keepers)
        self._memory = {key: f"decant-{uuid.uuid4().hex}" for key in options}
        self._spare: dict[str | None, AsyncEngine] | None = self._make_all()

    def is_like(self, other: Engines) -> bool:
        """Whether both are made of the same options."""
        return self.options == other.options and self._listen is other._listen

    def here(self) -> dict[str | None, AsyncEngine]:
        """Those of the running loop, or of the one that this thread works for."""
        loop = asyncio._get_running_loop() or flow().get_loop()
        found = self._by_loop.get(loop)
        if found is None:
            with self._lock:
                found = self._by_loop.get(loop) or self._open(loop)
        return found

    def _make_all(self) -> dict[str | None, AsyncEngine]:
        engines = {key: self._make(key, options) for key, options in self.options.items()}
        for key, engine in engines.items():
            if engine.dialect.name == "sqlite" and engine.url.database in {None, "", ":memory:"}:
                _share_memory(engine, self._memory[key])
            if self._listen is not None:
                self._listen(engine.sync_engine)
        return engines

    def _open(self, loop: asyncio.AbstractEventLoop) -> dict[str | None, AsyncEngine]:
        engines, self._spare = self._spare or self._make_all(), None
        self._by_loop[loop] = engines
        keeper = (loop, _keep(engines))
        self._keepers.append(keeper)
        # A copy: other threads open engines of their loops meanwhile, and the garbage collector lets go of some.
        _let_go([known for known in list(_kept) if known[0].is_closed()])
        _kept.add(keeper)
        if asyncio._get_running_loop() is loop:
            _start(keeper)
        else:
            loop.call_soon_threadsafe(_start, keeper)
        return engines

    async def dispose(self) -> None:
        """Close the idle connections of the running loop. The engines can be used again."""
        await _dispose(self._by_loop.get(asyncio.get_running_loop(), {}))


_Keeper = tuple[asyncio.AbstractEventLoop, AsyncGenerator[None]]
# Holds engines until they are disposed: what the garbage collector finds first, it reports as never closed.
_kept: set[_Keeper] = set()


async def _keep(engines: dict[str | None, AsyncEngine]) -> AsyncGenerator[None]:
    """Loops close the asynchronous generators that were begun on them before they close themselves."""
    try:
        yield
    finally:
        await _dispose(engines)


def _start(keeper: _Keeper) -> None:
    with suppress(StopIteration):  # it has reached its yield, without having awaited anything
        keeper[1].asend(None).send(None)


def _let_go(keepers: list[_Keeper]) -> None:
    """Forget generators; their loops, if they are open, close them then."""
    _kept.difference_update(keepers)
    keepers.clear()


async def _dispose(engines: Mapping[str | None, AsyncEngine]) -> None:
    for engine in engines.values():
        try:
            async with asyncio.timeout(_DISPOSE_TIMEOUT_S):
                await engine.dispose()
        except Exception:
            logger.warning("the connections to %s could not be closed", engine.url, exc_info=True)
            engine.sync_engine.dispose(close=False)


def _share_memory(engine: AsyncEngine, name: str) -> None:
    """Let all loops of an application see one in-memory database, as all threads do with Flask-SQLAlchemy."""

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
        arguments[0] = f"file:{name}?mode=memory&cache=shared"
        options["uri"] = True
