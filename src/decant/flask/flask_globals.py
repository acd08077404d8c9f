"""Flask's own context variables, in the one place that knows where each version of Flask has them."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from importlib.metadata import version
from typing import Any, Final

import flask
import flask.globals

__all__ = ["Variables"]

_KNOWN: Final = ((3, 0), (3, 1))


class Variables:
    """``_cv_app`` and ``_cv_request`` of Flask 3.0 and 3.1, which are what its proxies look at.

    :raises RuntimeError: for another version of Flask: 3.2 makes one context of the two.
    """

    def __init__(self) -> None:
        found = tuple(int(part) for part in version("flask").split(".")[:2] if part.isdigit())
        app = getattr(flask.globals, "_cv_app", None)
        request = getattr(flask.globals, "_cv_request", None)
        if found not in _KNOWN or not isinstance(app, ContextVar) or not isinstance(request, ContextVar):
            raise RuntimeError(
                f"share_proxies() knows the contexts of Flask 3.0 and 3.1, not those of {version('flask')}: install"
                " flask<3.2, or use decant.quart's own names in place of Flask's"
            )
        self.app: ContextVar[Any] = app
        self.request: ContextVar[Any] = request

    def is_real(self) -> bool:
        """Whether a request of a Flask application is handled here.

        Not an application's context: one that is pushed while a module is imported, as scripts do, is inherited by
        every request.
        """
        return isinstance(getattr(self.request.get(None), "app", None), flask.Flask)

    @staticmethod
    def reset(variable: ContextVar[Any], token: Token[Any]) -> None:
        """Set back what was set in this context; in another one there is nothing to set back."""
        with suppress(ValueError):
            variable.reset(token)
