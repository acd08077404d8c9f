"""How often links may be imported, and how much a request may bring."""

from __future__ import annotations

from quart import current_app, request, session

from ..accounts.current import require_user
from ..extensions import limiter
from ..web.limits import rate

__all__ = ["allow_file", "count_import", "most_bytes"]

_UPLOAD_S = 600  # for all of the file; Quart's own minute is too short for a slow line
_FORM_BYTES = 64 * 1024  # what a form has around the file


def most_bytes() -> int:
    """The longest file."""
    megabytes: int = current_app.config["IMPORT_MAX_MB"]
    return megabytes * 1024 * 1024


def allow_file(*, known: bool = False) -> None:
    """Let this request bring a file: before its body is read, and only for who is ``known`` or has a session."""
    if known or isinstance(session.get("user_id"), int):
        request.max_content_length = most_bytes() + _FORM_BYTES
        request.body_timeout = _UPLOAD_S


async def _user() -> str:
    return f"user:{(await require_user()).id}"


@limiter.shared_limit(
    rate("RATE_IMPORTS"),
    "imports",
    key_func=_user,
    error_message="You have begun many imports in a short time. Wait a while.",
)
async def count_import() -> None:
    """To be awaited before a file is kept: 429 if it is one too many."""
