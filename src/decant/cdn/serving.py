"""The views of static files: from memory, compressed beforehand, with headers that let caches keep them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from quart.wrappers.response import DataBody

from ..context import current_app, current_request, on_quart
from .doors import SHARED
from .files import File
from .index import Index, index_of

__all__ = ["static_view"]

_FOREVER = "public, max-age=31536000, immutable"


def static_view(app: Any, index: Index, endpoint: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """The view of a static endpoint; ``original`` sends what is too large for memory, or not known.

    A response has the address's fingerprint (``immutable``) or that of ``get_send_file_max_age``; a strong ``ETag``
    per encoding; ranges are of the file as it is, never of a compressed one.
    """
    if on_quart(app):

        @wraps(original)
        async def quart_view(filename: str) -> Any:
            file = await index.found(app, endpoint, filename)
            if file is None or not file.bodies:
                return _from_disk(await app.ensure_async(original)(filename=filename), file, filename)
            response = _respond(file, filename)
            length, request = response.content_length, current_request()
            if "Range" in request.headers:
                response.response = _Content(file.bodies["identity"])
            return await response.make_conditional(request, accept_ranges=True, complete_length=length)

        return quart_view

    @wraps(original)
    def flask_view(filename: str) -> Any:
        file = index.find(app, endpoint, filename)
        if file is None or not file.bodies:
            return _from_disk(app.ensure_sync(original)(filename=filename), file, filename)
        response = _respond(file, filename)
        return response.make_conditional(current_request(), accept_ranges=True, complete_length=response.content_length)

    return flask_view


class _Content(DataBody):
    """Of which ``Range: bytes=-n`` asks the last ``n`` bytes, which Quart answers with 500."""

    async def make_conditional(self, begin: int, end: int | None) -> int:
        return await super().make_conditional(max(begin + len(self.data), 0) if begin < 0 else begin, end)


def _respond(file: File, filename: str) -> Any:
    request = current_request()
    encoding = _chosen(file, request)
    response = current_app().response_class(file.bodies[encoding], mimetype=file.mimetype)
    response.last_modified = file.mtime
    response.set_etag(file.fingerprint if encoding == "identity" else f"{file.fingerprint}-{encoding}")
    if encoding != "identity":
        response.content_encoding = encoding
    if file.encodings:
        response.vary.add("Accept-Encoding")
    return _dated(response, file, filename)


def _chosen(file: File, request: Any) -> str:
    """The smallest encoding that the client takes as gladly as any other."""
    if "Range" in request.headers:
        return "identity"
    accepted = request.accept_encodings
    offered = [name for name in file.encodings if accepted.quality(name) > 0]
    best = max(offered, key=accepted.quality, default="identity")
    named = any(value.lower() == "identity" for value, _ in accepted)
    return "identity" if named and accepted.quality("identity") > accepted.quality(best) else best


def _from_disk(response: Any, file: File | None, filename: str) -> Any:
    """What the framework sends, which may have changed since its fingerprint was taken."""
    sent = response.last_modified
    changed = file is not None and sent is not None and int(sent.timestamp()) != int(file.mtime)
    return _dated(response, None if changed else file, filename)


def _dated(response: Any, file: File | None, filename: str) -> Any:
    """Say how long to keep it; a fingerprint that is not this file's promises nothing."""
    if response.status_code not in (200, 206, 304):
        return response
    if file is not None and current_request().args.get("t") == index_of(current_app()).mark(file):
        response.headers["Cache-Control"] = _FOREVER
        response.headers.pop("Expires", None)
        _share()
        return response
    if "Cache-Control" not in response.headers:
        seconds = current_app().get_send_file_max_age(filename)
        response.headers["Cache-Control"] = "no-cache" if seconds is None else f"public, max-age={seconds}"
    return response


def _share() -> None:
    request = current_request()
    shared = (request.scope if hasattr(request, "scope") else request.environ).get(SHARED)
    if shared is not None:  # in a test's own request context there is none
        shared.response = True
