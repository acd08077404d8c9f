"""The response: Flask's keyword arguments, and bodies whose steps may wait."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import quart
from quart.wrappers.response import DataBody as QuartDataBody
from quart.wrappers.response import FileBody as QuartFileBody
from quart.wrappers.response import IOBody as QuartIOBody
from quart.wrappers.response import IterableBody as QuartIterableBody
from werkzeug.http import remove_entity_headers

from ..bridge import bridged, current_threads

__all__ = ["FileBody", "IterableBody", "Response", "StepsInThreads"]

_END: Any = object()


class _StepsInBridge:
    """An asynchronous iterator whose every step is bridged: Python 3.11's ``wait_for`` sends from another task."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self.iterator = iterator

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await bridged(self.iterator.__anext__())

    async def aclose(self) -> None:
        close = getattr(self.iterator, "aclose", None)
        if close is not None:
            await bridged(close())


class StepsInThreads:
    """A synchronous iterator as an asynchronous one, each step of which runs in the application's threads."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self.iterator = iterator
        self.threads = current_threads.get()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        item = await self.threads.run(next, self.iterator, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        close = getattr(self.iterator, "close", None)
        if close is not None:
            await self.threads.run(close)


class StepsOnLoop(StepsInThreads):
    """The same for what runs on the loop: an iterator that never blocks, or one that waits in the bridge."""

    async def __anext__(self) -> Any:
        item = await bridged(_call(next, self.iterator, _END))
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        close = getattr(self.iterator, "close", None)
        if close is not None:
            await bridged(_call(close))


async def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


async def _plainly(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


class IterableBody(QuartIterableBody):
    """A streamed body: asynchronous iterators step in the bridge, synchronous ones in threads, lists at once."""

    def __init__(self, iterable: AsyncIterable[Any] | Iterable[Any]) -> None:
        self.iter: AsyncIterator[Any]
        if isinstance(iterable, list | tuple):
            self.iter = _plainly(iterable)
        elif isinstance(iterable, StepsInThreads):
            self.iter = iterable
        elif isinstance(iterable, Iterable):
            self.iter = StepsInThreads(iter(iterable))
        else:
            self.iter = _StepsInBridge(aiter(iterable))


class _FromTheEnd:
    """A body of which ``Range: bytes=-n`` asks the last ``n`` bytes, which Quart answers with 500."""

    async def make_conditional(self, begin: int, end: int | None) -> int:
        body: Any = super()
        size = len(self.data) if isinstance(self, QuartDataBody) else self.size  # type: ignore[attr-defined]
        length: int = await body.make_conditional(max(begin + size, 0) if begin < 0 else begin, end)
        return length


class DataBody(_FromTheEnd, QuartDataBody):
    """Bytes."""


class FileBody(_FromTheEnd, QuartFileBody):
    """A file, read in pieces of 128 KiB."""

    buffer_size = 128 * 1024


class IOBody(_FromTheEnd, QuartIOBody):
    """A file in memory."""


class Response(quart.Response):
    """``quart.Response`` with the arguments and the behaviour of Flask's."""

    data_body_class = DataBody
    file_body_class = FileBody
    io_body_class = IOBody
    iterable_body_class = IterableBody

    def __init__(
        self,
        response: Any = None,
        status: int | str | None = None,
        headers: Any = None,
        mimetype: str | None = None,
        content_type: str | None = None,
        direct_passthrough: bool = False,
    ) -> None:
        """:param direct_passthrough: taken, as Flask's views give it, and of no effect: nothing checks the items."""
        super().__init__(response, status, headers, mimetype, content_type)  # type: ignore[arg-type]
        self.on_close: list[Callable[[], Any]] = []

    def call_on_close(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Call ``function``, which may be ``async``, when the response has been sent or has failed."""
        self.on_close.append(function)
        return function

    async def make_conditional(
        self, request: Any, accept_ranges: bool | str = False, complete_length: int | None = None
    ) -> Any:
        """As Quart's; with the headers of Werkzeug's: ranges are offered, and a 304 does not describe a body."""
        offered = "bytes" if accept_ranges is True else accept_ranges
        if offered and complete_length and request.method in {"GET", "HEAD"}:
            self.headers["Accept-Ranges"] = offered
        response = await super().make_conditional(request, accept_ranges, complete_length)
        if self.status_code == 304:
            remove_entity_headers(self.headers)
        return response

    async def get_json(self, force: bool = False, silent: bool = False) -> Any:
        """The body, parsed as JSON; ``None`` if it is not said to be JSON, unless ``force``.

        :raises ValueError: if it is not JSON, unless ``silent``.
        """
        if not (force or self.is_json):
            return None
        data = await self.get_data(as_text=False)
        try:
            return self.json_module.loads(data)
        except ValueError:
            if silent:
                return None
            raise
