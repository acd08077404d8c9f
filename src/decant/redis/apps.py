"""One client per application, URL and options."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

from ..context import current_app, has_app
from ..errors import ConfigError
from ..ops.registry import readiness
from .core import Redis
from .options import Options, options_from

__all__ = ["client"]

_EXTENSION: Final = "decant.redis"
_without_app: Final[dict[Options, Redis]] = {}


def client(app: Any = None, url: str | None = None, *, decode_responses: bool = False, **options: Any) -> Redis:
    """The application's Redis client; made once per URL and options, in each event loop with connections of its own.

    ``app`` is a Quart or Flask application, by default the current one. Without any, ``url`` must be given and the
    client is the process's. Every other option is one of :class:`~decant.redis.Options`; what is not given is read
    from the configuration (``REDIS_URL``, ``REDIS_DEADLINE_S``, …). An application that has not begun to serve
    closes it after serving.

    :raises ConfigError: if the URL or an option is wrong; passwords are not shown.
    """
    if app is None and has_app():
        app = current_app()
    if app is None:
        if url is None:
            raise ConfigError("url", None, "outside an application context a URL (or an app) is needed")
        made = options_from({}, url, decode_responses=decode_responses, **options)
        if made not in _without_app:
            _without_app[made] = Redis(made)
        return _without_app[made]
    made = options_from(app.config, url, decode_responses=decode_responses, **options)
    clients: dict[Options, Redis] = app.extensions.setdefault(_EXTENSION, {})
    if not clients:
        _close_with(app, clients)
    if made not in clients:
        redis = clients[made] = Redis(made)
        name = "redis" if len(clients) == 1 else f"redis {len(clients)}"
        readiness(name, partial(_ready, redis), critical=False, app=app)
    return clients[made]


async def _ready(redis: Redis) -> None:
    await redis.ping()  # with an open breaker, the next probe


def _close_with(app: Any, clients: dict[Options, Redis]) -> None:
    async def close_redis() -> None:
        for redis in clients.values():
            await redis.aclose()

    async def close_last() -> None:
        """Whatever else ends with the application, made before this or after, may have something to tell Redis."""
        app.after_serving_funcs.remove(close_redis)
        app.after_serving_funcs.append(close_redis)

    if not hasattr(app, "after_serving"):  # Quart's; a Flask application's clients end with their loop
        return
    with suppress(AssertionError):  # it serves already: they end with the loop
        app.after_serving(close_redis)
        app.before_serving(close_last)
