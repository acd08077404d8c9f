"""A link shortener: an ordinary Flask application."""

import logging

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from .config import config_by_name
from .extensions import cache, celery, cors, csrf, db, limiter, login_manager, migrate, socketio

__all__ = ["create_app"]


def create_app(config=None, **overrides):
    """The application factory.

    ``config`` is a name ("development", "production", "testing") or a class; without it APP_CONFIG decides.
    """
    app = Flask(__name__)
    app.config.from_object(config_by_name(config))
    app.config.from_prefixed_env()  # FLASK_MAX_CONTENT_LENGTH=… and the like
    app.config.from_mapping(overrides)
    app.config["SQLALCHEMY_DATABASE_URI"] = driver_url(app.config["SQLALCHEMY_DATABASE_URI"])
    if not app.config["SECRET_KEY"]:
        raise RuntimeError("SECRET_KEY is not set: python -c 'import secrets; print(secrets.token_hex())' makes one")
    logging.basicConfig(level=app.config["LOG_LEVEL"], format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if app.config["PROXY_HOPS"]:
        hops = app.config["PROXY_HOPS"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)

    from . import commands, hooks, urls

    urls.register_converters(app)
    hooks.register(app)  # before the extensions: what they add to a response is seen by our after_request
    register_extensions(app)
    register_blueprints(app)
    commands.register(app)
    app.config["RESERVED_SLUGS"] = urls.reserved_slugs(app)
    return app


def driver_url(url):
    """Hosts give "postgres://" or "postgresql://"; SQLAlchemy shall use psycopg2."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg2://" + url[len(prefix) :]
    return url


def register_extensions(app):
    db.init_app(app)
    migrate.init_app(app, db)
    login_manager.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    cache.init_app(app)
    if app.config["CORS_ORIGINS"]:
        cors.init_app(
            app,
            resources={r"^/api/v1/": {"origins": app.config["CORS_ORIGINS"]}},
            methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=[
                "Link",
                "Location",
                "Retry-After",
                "WWW-Authenticate",
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
                "X-Request-ID",
            ],
            supports_credentials=False,
            always_send=False,
            max_age=86400,
        )
    socketio.init_app(
        app,
        async_mode=app.config["SOCKETIO_ASYNC_MODE"],
        message_queue=app.config["SOCKETIO_MESSAGE_QUEUE"],
        cors_allowed_origins=app.config["SOCKETIO_CORS"],
    )
    init_celery(app)


def init_celery(app):
    """Tasks run in an application context, as Flask's documentation shows it."""
    celery.conf.update(app.config["CELERY"])

    class ContextTask(celery.Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery.Task = ContextTask
    celery.set_default()
    app.extensions["celery"] = celery


def register_blueprints(app):
    from . import tasks  # noqa: F401
    from .api import api
    from .auth import auth
    from .sockets import register_events
    from .views import imports, links, main

    app.register_blueprint(main)
    app.register_blueprint(auth)
    app.register_blueprint(links, url_prefix="/links")
    app.register_blueprint(imports)
    app.register_blueprint(api, url_prefix="/api/v1")
    csrf.exempt(api)  # bearer tokens; where the session is used it checks the token itself
    register_events()
