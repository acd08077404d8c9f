"""The Quart application with the Flask one mounted below it."""

from shortener import create_app as create_flask_app

from decant import Quart
from decant.flask import mount

from .extensions import cors, db, limiter

# What both halves have to agree on; the settings of sessions are shared by mount() itself.
SHARED = (
    "MAX_CONTENT_LENGTH",
    "PUBLIC_URL",
    "RATE_API",
    "RATE_API_REFUSED",
    "RATELIMIT_STORAGE_URI",
    "RATELIMIT_STRATEGY",
    "RATELIMIT_KEY_PREFIX",
    "RATELIMIT_HEADERS_ENABLED",
    "SQLALCHEMY_DATABASE_URI",
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
    app = Quart(__name__)
    app.config.update({key: flask_app.config[key] for key in SHARED})
    uri = app.config["SQLALCHEMY_DATABASE_URI"]
    app.config["SQLALCHEMY_DATABASE_URI"] = uri.replace("+psycopg2", "")  # by asyncpg
    app.extensions["flask_app"] = flask_app

    from . import writes  # noqa: F401
    from .api import api
    from .errors import register_errors
    from .own import own
    from .pages import pages

    app.url_map.converters.update(flask_app.url_map.converters)
    register_errors(app)
    db.init_app(app)
    app.register_blueprint(pages)
    app.register_blueprint(own)
    app.register_blueprint(api, url_prefix="/api/v1")
    limiter.init_app(app)
    if flask_app.config["CORS_ORIGINS"]:
        cors.init_app(
            app,
            resources={r"/api/v1/*": {"origins": flask_app.config["CORS_ORIGINS"]}},
            methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=EXPOSED,
            supports_credentials=False,
            max_age=86400,
            always_send=False,
        )
    mount(app, flask_app, threads=100)
    return app
