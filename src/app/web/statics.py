"""Static files: an address that carries the file's hash may be kept for ever, any other for five minutes."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from pathlib import Path

from quart import Quart, Response, request, url_for

__all__ = ["init_statics"]

_FOREVER = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=300"


@cache
def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in files}


def init_statics(app: Quart) -> None:
    """Give templates ``static(name)``, and set ``Cache-Control``.

    :raises LookupError: from ``static(name)``, for a file that does not exist.
    """
    mimetypes.init()  # reads files, at its first use
    hashes = _hashes(Path(str(app.static_folder)))

    def static(name: str) -> str:
        if name not in hashes:
            raise LookupError(f"there is no static file {name!r}")
        return url_for("static", filename=name, v=hashes[name])

    app.jinja_env.globals["static"] = static

    @app.after_request
    async def cache_control(response: Response) -> Response:
        if request.endpoint == "static" and response.status_code in (200, 206, 304):
            name = (request.view_args or {}).get("filename", "")
            current = request.args.get("v") == hashes.get(name, "")
            response.headers["Cache-Control"] = _FOREVER if current else _SHORT
        return response
