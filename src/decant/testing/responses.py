"""The test client's response: complete, so that its body can be read with ``await`` or without.

In Flask a test reads ``response.json``, ``response.data``, ``response.get_data()``; in Quart it awaits them. Here the
body has arrived, and both hold: each is the plain value, of a subclass that can also be awaited. Only JSON's
``null``, ``true`` and ``false`` cannot be subclassed: without ``await`` they compare and test as what they
are, but ``is None`` or ``is True`` need ``await response.json``.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from types import TracebackType
from typing import Any, ClassVar, cast

from quart import Response
from werkzeug.wrappers import Request as SentRequest

__all__ = ["TestResponse", "response_class"]

Awaiting = Generator[Any, None, Any]


def _at_once(value: Any) -> Awaiting:
    yield from ()
    return value


class _Bytes(bytes):
    def __await__(self) -> Awaiting:
        return _at_once(bytes(self))


class _Str(str):
    __slots__ = ()

    def __await__(self) -> Awaiting:
        return _at_once(str(self))


class _Int(int):
    def __await__(self) -> Awaiting:
        return _at_once(int(self))


class _Float(float):
    def __await__(self) -> Awaiting:
        return _at_once(float(self))


class _List(list[Any]):
    def __await__(self) -> Awaiting:
        return _at_once(list(self))


class _Dict(dict[str, Any]):
    def __await__(self) -> Awaiting:
        return _at_once(dict(self))


class _Other:
    """``None``, ``True`` or ``False``; or what only the application's own JSON provider makes."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Awaiting:
        return _at_once(self._value)

    def __eq__(self, other: object) -> bool:
        return bool(self._value == other)

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"<{self._value!r}, to be awaited>"


_SUBCLASSES: dict[type, Any] = {bytes: _Bytes, str: _Str, int: _Int, float: _Float, list: _List, dict: _Dict}


def _awaitable(value: Any) -> Any:
    return _SUBCLASSES.get(type(value), _Other)(value)


class TestResponse(Response):
    """A response with Flask's ``request``, ``history`` and ``text``; a subclass of the application's own class too."""

    __test__: ClassVar[bool] = False  # for pytest: not a test class
    # What the application sent is shown, and nothing is added to it.
    default_mimetype = cast(str, None)
    automatically_set_content_length = False

    request: SentRequest
    """The request as sent, after redirects the last: ``path``, ``url``, ``headers``, ``environ``, ``get_data()``…"""
    history: tuple[TestResponse, ...] = ()
    """The redirects that were followed to this response, oldest first."""
    _body = b""

    def set_data(self, data: str | bytes) -> None:
        super().set_data(data)
        self._body = data.encode() if isinstance(data, str) else data

    def get_data(self, as_text: bool = False) -> Any:
        """The body as ``bytes`` (as ``str`` with ``as_text``), with or without ``await``."""
        return _awaitable(self._body.decode(errors="replace") if as_text else self._body)

    @property
    def data(self) -> Any:
        """The body as ``bytes``, with or without ``await``."""
        return self.get_data()

    @data.setter
    def data(self, value: str | bytes) -> None:
        self.set_data(value)

    @property
    def text(self) -> str:
        """The body as ``str``."""
        return str(self.get_data(as_text=True))

    @property
    def json(self) -> Any:
        """The body parsed as JSON, with or without ``await``; ``None`` if the mimetype is not JSON."""
        return self.get_json()

    def get_json(self, force: bool = False, silent: bool = False) -> Any:
        """The body parsed as JSON, with or without ``await``.

        :param force: whatever the mimetype.
        :param silent: ``None`` instead of a ``ValueError`` where the body is not JSON.
        """
        if not (force or self.is_json):
            return _awaitable(None)
        try:
            value = self.json_module.loads(self._body)
        except ValueError:
            if not silent:
                raise
            value = None
        return _awaitable(value)

    def close(self) -> None:
        """For Flask's tests, which close responses: this one holds nothing open."""

    def __enter__(self) -> TestResponse:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


@lru_cache(maxsize=64)
def response_class(base: type[Response]) -> type[TestResponse]:
    """The class of the responses to an application with this ``response_class``."""
    if issubclass(TestResponse, base):
        return TestResponse
    return cast("type[TestResponse]", type(f"Test{base.__name__}", (TestResponse, base), {"__test__": False}))
