"""What happens to jobs and workers, as a stream in Redis: Celery's event types, for the monitor.

::

    {"type": "task-started", "time": 1795000000.123, "worker": "web1:4711:ab12", "id": "<uuid>", "task": "app.mail",
     "attempt": 1, "wait": 0.004}

A task's events are ``task-started task-succeeded task-failed task-retried task-revoked``, a worker's
``worker-online worker-heartbeat worker-offline``. ``task-started`` has ``id task attempt wait`` (seconds since it was
due), what ends an attempt has ``id task attempt runtime`` (seconds) and, if it went wrong, ``exception`` (one line).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from itertools import islice
from typing import Any, Final, Protocol

__all__ = ["Recorder", "encode_event"]

Event = dict[str, Any]

_SOURCE: Final = files(__package__).joinpath("events.lua").read_text(encoding="utf-8")
_NUMBERS: Final = frozenset({int, float})
_BUFFER: Final = 10_000
_STREAM: Final = 10_000
_BATCH: Final = 500
_INTERVAL_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_DEADLINE_S: Final = 2.0
logger = logging.getLogger("decant.tasks.events")


class _Client(Protocol):
    def register_script(self, script: Any) -> Any: ...


def encode_event(event: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a stream entry: text as it is, anything else as JSON; ``None`` is left out."""
    return {
        name: value
        if isinstance(value, str)
        else repr(value)
        if type(value) in _NUMBERS
        else json.dumps(value, default=str)
        for name, value in event.items()
        if value is not None
    }


_json: Final = json.JSONEncoder(ensure_ascii=False).encode  # which json.dumps would make anew for each


def _packed(event: Mapping[str, Any]) -> str:
    # One argument per event: redis-py needs 2 µs for each, and an event has ten.
    packed = _json([part for field in encode_event(event).items() for part in field])
    return packed if packed.isascii() else packed.encode("utf-8", "replace").decode()  # half a character is none


class Recorder:
    """Collects events in a bounded buffer, which one task writes every 50 ms in one pipelined round trip.

    Recording costs a dictionary and never waits or raises. What does not fit the buffer of 10,000 because Redis is
    away is dropped, oldest first, and counted in ``dropped``; the ledger knows the truth anyway.

    :param stream: the key, :attr:`Names.events`.
    :param worker: the ``worker`` of every event.
    :param keeps: how many entries the stream has, about.
    """

    def __init__(
        self, redis: _Client, stream: str, worker: str = "", *, sends: bool = True, keeps: int = _STREAM
    ) -> None:
        self._stream, self._worker, self._keeps = stream, worker, keeps
        self.sends = sends and keeps > 0
        self._append = redis.register_script(_SOURCE)
        self._buffer: deque[Event] = deque(maxlen=_BUFFER)
        self._listeners: list[Callable[[Event], None]] = []
        self._filled = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener(event)`` at once for every event, in this process; what it raises is logged."""
        self._listeners.append(listener)

    def record(self, type: str, **fields: Any) -> None:  # noqa: A002  (Celery's name)
        """Note an event; to be called on the event loop."""
        event: Event = {"type": type, "time": time.time(), "worker": self._worker, **fields}
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener of events failed at %s", type)
        if not self.sends:
            return
        if len(self._buffer) == _BUFFER:
            self.dropped += 1
        self._buffer.append(event)
        self._filled.set()

    def start(self) -> None:
        """Begin to write, until :meth:`aclose`."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def aclose(self) -> None:
        """Write what is left, within 2 s, and stop."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.cancel()
            await asyncio.wait([writer])
            with suppress(Exception):
                async with asyncio.timeout(_DEADLINE_S):
                    while self._buffer:
                        await self._flush()

    async def _write(self) -> None:
        pause_s = _INTERVAL_S
        while True:
            await self._filled.wait()
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(_DEADLINE_S):
                    await self._flush()
                pause_s = _INTERVAL_S
            except Exception as error:
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                logger.debug("events wait for Redis: %s: %s", type(error).__name__, error)

    async def _flush(self) -> None:
        batch = list(islice(self._buffer, _BATCH))
        await self._append([self._stream], [self._keeps, *map(_packed, batch)])
        for event in batch:  # not popped before they are written; a full buffer may have dropped some meanwhile
            if self._buffer and self._buffer[0] is event:
                self._buffer.popleft()
        if not self._buffer:
            self._filled.clear()
