"""``create_app``: settings, servers, extensions, features, in this order."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

from hypercorn.middleware import ProxyFixMiddleware

from decant import Quart

from .accounts import accounts
from .accounts.cli import users
from .accounts.current import init_current
from .accounts.passwords import init_passwords
from .config import Settings, load_settings, secret_key
from .extensions import db
from .links import links
from .links.rules import reserved_slugs, zones
from .pages import pages
from .web.converters import init_converters
from .web.csrf import init_csrf
from .web.errors import init_errors
from .web.gate import Gate
from .web.logs import configure_logs
from .web.sessions import Sessions
from .web.statics import init_statics
from .web.templates import init_templates

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> Quart:
    """The application.

    :param config: wins over the environment; keys that are no setting go to ``app.config`` as they are.
    :raises ConfigError: for a wrong setting, by its key.
    :raises EmbeddedError: if a server has to be embedded and cannot be.
    """
    settings = load_settings(config)
    configure_logs(settings)
    app = Quart(__name__)
    _configure(app, settings, _servers(app, settings))
    app.config.update({key: value for key, value in (config or {}).items() if key not in Settings.model_fields})
    _init_extensions(app, settings)
    _register_features(app)
    _wrap(app, settings)
    return app


def _servers(app: Quart, settings: Settings) -> dict[str, str]:
    """The URLs of the servers, one that is not set embedded in DATA_DIR and stopped with the application."""
    urls = {"DATABASE_URL": settings.DATABASE_URL, "REDIS_URL": settings.REDIS_URL}
    missing = [key for key, url in urls.items() if url is None]
    if missing:
        from decant.embedded import postgresql, valkey

        stack = ExitStack()
        starters = {"DATABASE_URL": postgresql, "REDIS_URL": valkey}
        for key in missing:
            urls[key] = stack.enter_context(starters[key](settings.DATA_DIR)).url
        app.after_serving(partial(asyncio.to_thread, stack.close))
        atexit.register(stack.close)  # a command of the CLI serves nothing
    return {key: url for key, url in urls.items() if url is not None}


def _configure(app: Quart, settings: Settings, urls: dict[str, str]) -> None:
    app.config.update(settings.model_dump(), **urls)
    app.config.update(
        SECRET_KEY=secret_key(settings),
        SESSION_COOKIE_NAME="session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",  # Strict would log people out who follow a link to us
        PERMANENT_SESSION_LIFETIME=timedelta(days=settings.SESSION_LIFETIME_DAYS),
        SQLALCHEMY_DATABASE_URI=urls["DATABASE_URL"],
        SQLALCHEMY_ENGINE_OPTIONS={
            "pool_size": settings.DATABASE_POOL_SIZE,
            "max_overflow": settings.DATABASE_POOL_SIZE,
            "pool_timeout": settings.DATABASE_POOL_TIMEOUT_S,
        },
    )


def _init_extensions(app: Quart, settings: Settings) -> None:
    app.session_interface = Sessions()
    db.init_app(app)
    init_passwords(app, settings)
    init_converters(app)
    init_statics(app)
    init_templates(app)
    init_csrf(app)
    init_current(app)
    init_errors(app)
    app.cli.add_command(users)
    zones()


def _register_features(app: Quart) -> None:
    for feature in (pages, accounts, links):
        app.register_blueprint(feature)
    app.extensions["reserved_slugs"] = reserved_slugs(app)  # after the last route


def _wrap(app: Quart, settings: Settings) -> None:
    app.asgi_app = Gate(app.asgi_app)  # type: ignore[method-assign, assignment]
    if settings.PROXY_HOPS:
        proxied = ProxyFixMiddleware(app.asgi_app, mode="legacy", trusted_hops=settings.PROXY_HOPS)
        app.asgi_app = proxied  # type: ignore[method-assign, assignment]
