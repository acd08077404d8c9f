"""The Quart application with the Flask one mounted below it."""

from pathlib import Path

from hypercorn.middleware import ProxyFixMiddleware
from shortener import create_app as create_flask_app
from shortener.forms import zone_names
from shortener.hooks import moment, thousands
from shortener.urls import reserved_slugs, short_url

from decant import Quart
from decant.flask import mount, share_proxies

from .extensions import cache, cors, cpu, csrf, db, limiter, login_manager

# What both halves have to agree on; the settings of sessions are shared by mount() itself.
SHARED = (
    "CACHE_DEFAULT_TIMEOUT",
    "CACHE_KEY_PREFIX",
    "CACHE_REDIS_URL",
    "CACHE_TYPE",
    "MAX_CONTENT_LENGTH",
    "PASSWORD_METHOD",
    "PUBLIC_URL",
    "RATE_API",
    "RATE_API_REFUSED",
    "RATE_LINKS",
    "RATE_LOGIN_ACCOUNT",
    "RATE_LOGIN_ADDRESS",
    "RATELIMIT_HEADERS_ENABLED",
    "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED",
    "RATELIMIT_KEY_PREFIX",
    "RATELIMIT_STORAGE_URI",
    "RATELIMIT_STRATEGY",
    "REGISTRATION",
    "SQLALCHEMY_DATABASE_URI",
    "WTF_CSRF_TIME_LIMIT",
)
EXPOSED = [
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
]


def create_app():
    flask_app = create_flask_app()
    # Templates and static files stay where they are.
    app = Quart(__name__, static_folder=None, template_folder=str(Path(flask_app.root_path, "templates")))
    configure(app, flask_app)
    app.extensions["flask_app"] = flask_app
    app.url_map.converters.update(flask_app.url_map.converters)
    app.add_template_global(short_url)
    app.add_template_filter(moment)
    app.add_template_filter(thousands)
    share_proxies(app)  # before Flask-Login and Flask-WTF
    register_extensions(app)
    register_blueprints(app)
    app.config["RESERVED_SLUGS"] = flask_app.config["RESERVED_SLUGS"] | reserved_slugs(app)
    zone_names()  # reads files: now, not in somebody's request
    mount(app, flask_app, threads=100)
    if hops := flask_app.config["PROXY_HOPS"]:  # for the Quart half what Werkzeug's ProxyFix is for the other one
        app.asgi_app = ProxyFixMiddleware(app.asgi_app, mode="legacy", trusted_hops=hops)
    return app


def configure(app, flask_app):
    app.config.update({key: flask_app.config[key] for key in SHARED})
    uri = app.config["SQLALCHEMY_DATABASE_URI"]
    app.config["SQLALCHEMY_DATABASE_URI"] = uri.replace("+psycopg2", "")  # by asyncpg
    app.config["CACHE_SERIALIZER"] = "pickle"  # Flask-Caching's
    app.config["CPU_EXECUTOR_TYPE"] = "process"
    app.config["SYNC_HANDLERS"] = "loop"  # hooks of Flask-Login and Flask-WTF: none of them blocks
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # but by check_form: the API has tokens of its own


def register_extensions(app):
    from .hooks import register_hooks
    from .who import check_form

    register_hooks(app)
    db.init_app(app)
    cache.init_app(app)
    cpu.init_app(app)
    login_manager.init_app(app)
    csrf.init_app(app)
    app.before_request(check_form)
    limiter.init_app(app)
    origins = app.extensions["flask_app"].config["CORS_ORIGINS"]
    if origins:
        cors.init_app(
            app,
            resources={r"/api/v1/*": {"origins": origins}},
            methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=EXPOSED,
            supports_credentials=False,
            max_age=86400,
            always_send=False,
        )


def register_blueprints(app):
    from . import writes  # noqa: F401
    from .api import api
    from .auth import auth
    from .export import imports
    from .links import links
    from .pages import main

    # They have the names of the Flask half's: url_for() in templates finds what has moved, and what has not.
    app.register_blueprint(main)
    app.register_blueprint(auth)
    app.register_blueprint(links, url_prefix="/links")
    app.register_blueprint(imports)
    app.register_blueprint(api, url_prefix="/api/v1")
