"""Static files: an address that carries the file's fingerprint may be kept for ever, any other for five minutes."""

from __future__ import annotations

import mimetypes

from quart import Quart

from decant.cdn import url_for

from ..extensions import cdn

__all__ = ["init_statics"]

_SHORT_S = 300


def init_statics(app: Quart) -> None:
    """Serve static files from memory, compressed when the application starts, and give templates ``static(name)``.

    :raises FileNotFoundError: from ``static(name)``, for a file that does not exist.
    """
    mimetypes.init()  # reads files, at its first use
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = _SHORT_S
    cdn.init_app(app)

    def static(name: str) -> str:
        return url_for("static", filename=name)

    app.jinja_env.globals["static"] = static
