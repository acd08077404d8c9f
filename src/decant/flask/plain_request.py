"""A request of Quart's for code that does not await: what ``flask.request`` is after ``share_proxies()``."""

from __future__ import annotations

import io
from functools import wraps
from inspect import iscoroutine, iscoroutinefunction
from typing import Any

from ..bridge import wait

__all__ = ["PlainRequest"]


class PlainRequest:
    """Everything of a ``quart.Request`` (or ``Websocket``), with values in place of what is awaited there.

    ``form``, ``files``, ``values``, ``data``, ``json``, ``get_json()`` and ``get_data()`` wait for the body.
    Attributes that are set are set on Quart's request, so both sides see them.
    """

    __slots__ = ("_request",)

    def __init__(self, request: Any) -> None:
        object.__setattr__(self, "_request", request)

    @property
    def stream(self) -> io.BytesIO:
        """The body as a file; it has been read to its end."""
        return io.BytesIO(wait(self._request.get_data()))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._request, name)
        if iscoroutine(value):
            return wait(value)
        return _waiting(value) if iscoroutinefunction(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._request, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._request, name)

    def __dir__(self) -> list[str]:
        return [*dir(self._request), "stream"]

    def __repr__(self) -> str:
        return f"<plain {self._request!r}>"


def _waiting(method: Any) -> Any:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return wait(method(*args, **kwargs))

    return call
