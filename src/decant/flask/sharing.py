"""What the halves of a mounted application share, made sure of when they are mounted: above all the session.

Both frameworks sign the session's cookie alike, so flashes, log-ins and CSRF tokens go to and fro, if the settings are
the same. Flask's are the truth, because its users have its cookies: a setting that the Quart application leaves at
Quart's default is taken over, and another one stops the start.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import Any, Final

import flask
import quart

from ..errors import ConfigError
from ..faces import twin_of

__all__ = ["check_shared", "share"]

logger = logging.getLogger("decant.flask")
_KEYS: Final = (
    "SECRET_KEY_FALLBACKS",
    "SESSION_COOKIE_NAME",
    "SESSION_COOKIE_DOMAIN",
    "SESSION_COOKIE_HTTPONLY",
    "SESSION_COOKIE_PARTITIONED",
    "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_SECURE",
    "PERMANENT_SESSION_LIFETIME",
    "SESSION_REFRESH_EACH_REQUEST",
)
_OF_EXTENSIONS: Final[dict[str, Any]] = {
    "WTF_CSRF_SECRET_KEY": None,
    "WTF_CSRF_FIELD_NAME": "csrf_token",
    "WTF_CSRF_TIME_LIMIT": 3600,
    "WTF_CSRF_HEADERS": ("X-CSRFToken", "X-CSRF-Token"),
    "REMEMBER_COOKIE_NAME": "remember_token",
    "REMEMBER_COOKIE_DURATION": timedelta(days=365),
    "REMEMBER_COOKIE_DOMAIN": None,
    "REMEMBER_COOKIE_PATH": "/",
    "REMEMBER_COOKIE_SECURE": False,
    "REMEMBER_COOKIE_HTTPONLY": True,
    "REMEMBER_COOKIE_SAMESITE": None,
}
"""Of Flask-WTF and Flask-Login, with what they mean where they are not set."""
_MISSING: Final = object()


def share(quart_app: Any, flask_app: flask.Flask, at: str | None = None) -> list[str]:
    """Share the settings of sessions, CSRF tokens and remembered log-ins, and the database's connections.

    :param at: the prefix that Flask lives under.
    :return: what is not shared, and why, in sentences.
    :raises ConfigError: if settings of the halves exclude each other; it names each of them.
    """
    defaults = {**{key: quart.Quart.default_config.get(key, _MISSING) for key in _KEYS}, **_OF_EXTENSIONS}
    taken = [key for key in defaults if _take(quart_app.config, flask_app.config, key, defaults[key])]
    for to, of in ((quart_app, flask_app), (flask_app, quart_app)):
        if not to.config["SECRET_KEY"] and of.config["SECRET_KEY"]:
            to.config["SECRET_KEY"] = of.config["SECRET_KEY"]
            taken.append("SECRET_KEY")
    path = _cookie_path(flask_app)
    of_both = at is None or not path.rstrip("/").endswith(at)  # else Quart's pages would not be sent the cookie
    if quart_app.config["SESSION_COOKIE_PATH"] is None and _cookie_path(quart_app) != path and of_both:
        quart_app.config["SESSION_COOKIE_PATH"] = path
        taken.append("SESSION_COOKIE_PATH")
    if taken:
        logger.info("%s and %s share %s", quart_app.name, flask_app.name, ", ".join(taken))
    check_shared(quart_app, flask_app)
    notes = [*_of_sessions(quart_app, flask_app), *_of_databases(quart_app, flask_app)]
    for note in notes:
        logger.warning("%s", note)
    return notes


def _take(ours: Any, theirs: Any, key: str, default: Any) -> bool:
    if key not in theirs or _plain(key, theirs[key]) == _plain(key, ours.get(key, _MISSING)):
        return False
    if key in ours and _plain(key, ours[key]) != _plain(key, default):
        return False  # set, to something else: check_shared refuses it
    ours[key] = theirs[key]
    return True


def _cookie_path(app: Any) -> str:
    return str(app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"])


def check_shared(quart_app: Any, flask_app: flask.Flask) -> None:
    """Whether each half reads the other's sessions and CSRF tokens.

    :raises ConfigError: if not; it names every setting in which they differ. Keys themselves are not shown.
    """
    ours, theirs = quart_app.config, flask_app.config
    wrong = [key for key in ("SECRET_KEY", *_KEYS) if key in ours and key in theirs and _differs(key, ours, theirs)]
    wrong += [key for key in _OF_EXTENSIONS if key in ours and _differs(key, ours, theirs)]
    if _cookie_path(quart_app) != _cookie_path(flask_app):
        wrong.append("SESSION_COOKIE_PATH")
    if wrong:
        raise ConfigError(
            ", ".join(wrong),
            [f"{key}: {_shown(key, ours)} in Quart, {_shown(key, theirs)} in Flask" for key in wrong],
            f"both halves need the same; what {quart_app.name!r} does not set is taken from {flask_app.name!r}",
        )
    if not _signs_alike(quart_app, flask_app):
        raise ConfigError(
            "session_interface",
            f"{type(quart_app.session_interface).__name__} in Quart, {type(flask_app.session_interface).__name__} in"
            " Flask",
            "their salt, key_derivation, digest_method and serializer must be the same",
        )


def _differs(key: str, ours: Any, theirs: Any) -> bool:
    return bool(_plain(key, ours[key]) != _plain(key, theirs.get(key, _OF_EXTENSIONS.get(key))))


def _plain(key: str, value: Any) -> Any:
    """Lists are as good as tuples, and empty ones as None; a number of seconds as a timedelta."""
    if key in ("PERMANENT_SESSION_LIFETIME", "REMEMBER_COOKIE_DURATION") and isinstance(value, int):
        return timedelta(seconds=value)
    return tuple(value) or None if isinstance(value, list | tuple) else value


def _shown(key: str, config: Any) -> str:
    value = config.get(key)
    return repr(value) if value is None or "SECRET" not in key else "a value that is not shown"


def _signer(app: Any) -> Any:
    make = getattr(app.session_interface, "get_signing_serializer", None)
    return make(app) if make is not None else None


def _signs_alike(quart_app: Any, flask_app: flask.Flask) -> bool:
    """Whether each reads what the other signs; so, too, if one has no signed cookie at all."""
    signers = [_signer(quart_app), _signer(flask_app)]
    if None in signers:
        return True
    sample = {"_flashes": [("message", "text")]}
    try:
        return all(reads.loads(writes.dumps(sample)) == sample for reads, writes in (signers, reversed(signers)))
    except Exception:  # BadSignature, or whatever a serializer of their own says to what it cannot read
        return False


def _of_sessions(quart_app: Any, flask_app: flask.Flask) -> list[str]:
    if not flask_app.config["SECRET_KEY"] and not quart_app.config["SECRET_KEY"]:
        return ["Sessions are not shared: neither half has a SECRET_KEY."]
    return [
        f"Sessions are not shared: those of {app.name!r} are kept by {type(app.session_interface).__name__}, whose"
        f" cookie {other.name!r} cannot read unless its session_interface reads the same store."
        for app, other in ((flask_app, quart_app), (quart_app, flask_app))
        if _signer(app) is None and app.config["SECRET_KEY"]
    ]


def _of_databases(quart_app: Any, flask_app: flask.Flask) -> list[str]:
    """One pool of connections, where both halves have ``decant.database``, the Flask half by its face."""
    ours, theirs = (twin_of(app.extensions.get("sqlalchemy")) for app in (quart_app, flask_app))
    if ours is None or theirs is None:
        return []
    database = sys.modules.get("decant.database")
    for app, found in ((flask_app, theirs), (quart_app, ours)):
        if database is None or not isinstance(found, database.SQLAlchemy):
            return [
                f"Database connections are not shared: {app.name!r} uses {type(found).__module__}, so each half has a"
                " pool of its own."
            ]
    if not ours.share_engines(quart_app, theirs, flask_app):
        return [
            "Database connections are not shared: SQLALCHEMY_DATABASE_URI, SQLALCHEMY_BINDS or"
            " SQLALCHEMY_ENGINE_OPTIONS of the halves differ."
        ]
    return []
