"""A request of Quart's for code that does not await: what ``flask.request`` is after ``share_proxies()``."""

from __future__ import annotations

import io
from functools import wraps
from inspect import iscoroutine, iscoroutinefunction
from os import PathLike
from typing import Any

from werkzeug.datastructures import FileStorage, ImmutableMultiDict

from ..bridge import wait
from .environ import environ_of

__all__ = ["PlainRequest"]


class PlainRequest:
    """Everything of a ``quart.Request`` (or ``Websocket``), with values in place of what is awaited there.

    ``form``, ``files``, ``values``, ``data``, ``json``, ``get_json()`` and ``get_data()`` wait for the body, and
    ``save()`` of a file for the disk.
    Attributes that are set are set on Quart's request, so both sides see them.
    """

    __slots__ = ("_environ", "_request")

    def __init__(self, request: Any) -> None:
        object.__setattr__(self, "_request", request)
        object.__setattr__(self, "_environ", None)

    @property
    def environ(self) -> dict[str, Any]:
        """The WSGI environ of the request, but for its body: Flask's log writes to ``wsgi.errors``."""
        made: dict[str, Any] | None = self._environ
        if made is None:
            made = environ_of(self._request.scope, None)
            del made["wsgi.input"]
            object.__setattr__(self, "_environ", made)
        return made

    @property
    def files(self) -> ImmutableMultiDict[str, FileStorage]:
        """The uploaded files, whose ``save`` waits."""
        found = wait(self._request.files)
        return ImmutableMultiDict([(name, _File(file)) for name, file in found.items(multi=True)])

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
        return [*dir(self._request), "environ", "stream"]

    def __repr__(self) -> str:
        return f"<plain {self._request!r}>"


class _File(FileStorage):
    """A file of Quart's, saved by a plain call, to a path or into a file, as Werkzeug has it."""

    def __init__(self, file: Any) -> None:
        super().__init__(file.stream, file.filename, file.name, headers=file.headers)
        self._file = file

    def save(self, dst: Any, buffer_size: int = 16384) -> None:
        if isinstance(dst, str | PathLike):
            wait(self._file.save(dst, buffer_size))
        else:
            super().save(dst, buffer_size)


def _waiting(method: Any) -> Any:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return wait(method(*args, **kwargs))

    return call
