"""The WSGI side of a response: ``start_response``, ``write`` and the iteration, as Gunicorn has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from greenlet import GreenletExit

from .sending import Sending

__all__ = ["Answer", "respond"]

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+")
_VALUE: Final = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")
_STATUS: Final = re.compile(r"[2-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?")
_HOP: Final = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "upgrade"}
_SERVERS_OWN: Final = _HOP | {"transfer-encoding", "server", "date"}
Headers = list[tuple[str, str]]


class Answer:
    """One response, made by the application, and given to the loop to be sent."""

    def __init__(self, sending: Sending, method: str, http_version: str) -> None:
        self.sending, self.method = sending, method
        self._keep_case = http_version.startswith("1")
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._length: int | None = None
        self._sent = 0
        self._ended = False
        self.begun = False
        """Whether the head has been given away, and so cannot be exchanged for an error's."""

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """Of PEP 3333.

        :raises AssertionError: if called again without ``exc_info``.
        :raises ValueError: for a status below 200 or one that is none, and for headers that HTTP does not allow.
        """
        try:
            if exc_info and self.begun:
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info, again = None, exc_info
        if self._headers is not None and not again:
            raise AssertionError("start_response() was called again, without exc_info")
        if not isinstance(status, str):
            raise TypeError(f"a status must be a str, not {status!r}")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"{status!r} is no status of a response: it begins with a number from 200 to 999")
        self._status, self._length = int(status[:3]), None
        checked = []
        for name, value in headers:
            lower, encoded = _named(name)
            if lower not in _SERVERS_OWN:
                checked.append((encoded if self._keep_case else encoded.lower(), self._checked(lower, value)))
        self._headers = checked
        if self._status == 204:
            self._headers = [pair for pair in checked if pair[0].lower() != b"content-length"]
            self._length = None
        return self.write

    def _checked(self, name: str, value: str) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"the value of the header {name} must be a str, not {type(value).__name__}")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of the header {name} has characters that HTTP does not allow")
        value = value.strip(" \t")
        if name == "content-length":
            if not value.isdecimal():
                raise ValueError(f"the Content-Length {value!r} is no number")
            self._length = int(value)
        return value.encode("latin-1")

    @property
    def bodiless(self) -> bool:
        """Whether the response has no body, whatever the application gives."""
        return self.method == "HEAD" or self._status in (204, 304)

    def write(self, data: bytes) -> None:
        """Send some of the body; never more than ``Content-Length`` says."""
        if not isinstance(data, bytes):
            raise TypeError(f"a WSGI application gives bytes, not {type(data).__name__}: {data!r}")
        first = not self.begun
        self._begin()
        if self._length is not None:
            data = data[: self._length - self._sent]
        if self.bodiless or not (data or first):  # what is empty sends the head
            self.sending.check()
            return
        self._sent += len(data)
        self._ended = self._sent == self._length  # told with its last bytes, not in a message of its own
        self.sending.put({"type": "http.response.body", "body": data, "more_body": not self._ended})

    def _begin(self) -> None:
        if self._headers is None:
            raise AssertionError("the application gave no status: start_response() was not called")
        if not self.begun:
            self.begun = True
            start = {"type": "http.response.start", "status": self._status, "headers": self._headers}
            self.sending.put(start)

    def finish(self) -> None:
        """Send the end.

        :raises ValueError: if there was less than ``Content-Length`` says.
        """
        self._begin()
        if self._length is not None and self._sent < self._length and not self.bodiless:
            raise ValueError(f"the response has {self._sent} bytes of the {self._length} that Content-Length says")
        if not self._ended:
            self.sending.put({"type": "http.response.body", "body": b"", "more_body": False})


@lru_cache(maxsize=256)
def _named(name: str) -> tuple[str, bytes]:
    """A header's name in lower case, and as it is to be sent."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    return name.lower(), name.encode("latin-1")


def respond(app: Any, environ: dict[str, Any], answer: Answer) -> None:
    """Call a WSGI application, send what it gives, close it: all of a request, wherever it is called.

    Where it runs it must be able to :func:`~decant.bridge.wait`.
    """
    try:
        _respond(app, environ, answer)
    except (asyncio.CancelledError, GreenletExit):
        raise
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise RuntimeError(f"the application raised {error!r}") from error  # or it would end the event loop


def _respond(app: Any, environ: dict[str, Any], answer: Answer) -> None:
    iterable: Iterable[bytes] = app(environ, answer.start_response)
    try:
        for data in iterable:
            answer.write(data)
        answer.finish()
    finally:
        if (close := getattr(iterable, "close", None)) is not None:
            close()
