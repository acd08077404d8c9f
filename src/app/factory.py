"""``create_app``: settings, servers, extensions, features, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from multiprocessing import current_process
from typing import Any

from hypercorn.middleware import ProxyFixMiddleware

from decant import Quart
from decant.database.migrate import upgrade
from decant.monitor import Monitor
from decant.ops.health import health
from workers import schedule

from .accounts import accounts
from .accounts.cli import users
from .accounts.current import admins_only, init_current
from .accounts.mail import init_mail
from .accounts.passwords import init_passwords
from .api import init_api
from .api.cors import init_cors
from .config import Settings, load_settings, secret_key
from .extensions import cache, cpu, db, migrations, tasks
from .imports import init_imports
from .links import links
from .links.rules import reserved_slugs, zones
from .live import init_live
from .mail.server import init_mail_server
from .pages import pages
from .previews import init_previews
from .qr.views import qr
from .redirects import init_redirects
from .servers import server_urls
from .web.converters import init_converters
from .web.csrf import exempt, init_csrf
from .web.errors import init_errors
from .web.gate import Gate
from .web.limits import init_limits
from .web.logs import configure_logs, job_context
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
    _configure(app, settings, server_urls(app, settings))
    app.config.update({key: value for key, value in (config or {}).items() if key not in Settings.model_fields})
    _init_extensions(app, settings)
    _register_features(app)
    init_live(app)
    init_limits(app)
    cache.init_app(app)  # all after the redirects: at the end their clicks are pushed before Redis is closed
    _wrap(app, settings)
    return app


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
        CACHE_TYPE="RedisCache",
        CACHE_KEY_PREFIX="shortener:cache:",
        # Hypercorn with workers > 0 serves in daemons, which multiprocessing allows no processes of their own.
        CPU_EXECUTOR_TYPE="thread" if current_process().daemon else "process",
        CPU_EXECUTOR_MAX_WORKERS=settings.CPU_PROCESSES,
        CPU_EXECUTOR_MAX_PENDING=100,
        TASKS_PREFIX="shortener",
        TASKS_BEAT_SCHEDULE=schedule.SCHEDULE,
    )


def _init_extensions(app: Quart, settings: Settings) -> None:
    app.session_interface = Sessions()
    db.init_app(app)
    migrations.init_app(app)
    cpu.init_app(app)
    tasks.init_app(app)
    tasks.log_context = job_context
    init_previews(app)
    init_mail_server(app)
    if settings.MIGRATE_ON_START or (settings.MIGRATE_ON_START is None and settings.DATABASE_URL is None):
        app.before_serving(partial(upgrade, app))
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
    for feature in (pages, accounts, links, qr):
        app.register_blueprint(feature)
    init_mail(app)
    monitor = Monitor(tasks, guard=admins_only, home="/")
    app.register_blueprint(monitor, url_prefix="/jobs")
    exempt(app, monitor)  # its forms have a token of their own
    init_imports(app)
    init_api(app)
    init_cors(app)
    init_redirects(app)
    health(app)
    app.extensions["reserved_slugs"] = reserved_slugs(app)  # after the last route


def _wrap(app: Quart, settings: Settings) -> None:
    wrapped: Any = Gate(app.asgi_app)
    if settings.PROXY_HOPS:
        wrapped = ProxyFixMiddleware(wrapped, mode="legacy", trusted_hops=settings.PROXY_HOPS)
    app.asgi_app = wrapped  # type: ignore[method-assign]
