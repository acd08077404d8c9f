"""Rate limits: how often who may do what, as the settings ``RATE_…`` say. Redirects have none."""

from __future__ import annotations

from collections.abc import Callable

from quart import Quart, Response, current_app

from ..extensions import limiter

__all__ = ["init_limits", "rate"]

_LATER = frozenset({429, 503})


def rate(key: str) -> Callable[[], str]:
    """The rate that a setting has in the current application."""

    def configured() -> str:
        value: str = current_app.config[key]
        return value

    return configured


def init_limits(app: Quart) -> None:
    """Check limits after CSRF, so that another site's forms use up nobody's."""

    @app.after_request
    async def retry_after(response: Response) -> Response:  # runs after the limiter's own
        # Flask-Limiter, and so the limiter, says when the window ends on every response; on a redirect
        # that would mean to wait before following it.
        if response.status_code not in _LATER:
            response.headers.pop("Retry-After", None)
        return response

    limiter.init_app(app)
