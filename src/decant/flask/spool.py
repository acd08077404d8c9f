"""What has arrived of a body and is not read yet: in memory first, then in a temporary file, and never too much."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from contextlib import suppress
from typing import IO, Any, Final

from .files import files

__all__ = ["Spool"]

_BLOCK: Final = 256 * 1024


class Spool:
    """Bytes, first in, first out. ``take`` may be called from any thread, the rest on the loop.

    :param memory: how many bytes are held in memory; what comes then goes to a temporary file.
    :param disk: how many bytes that may hold.
    """

    def __init__(self, memory: int, disk: int) -> None:
        self.memory, self.disk = memory, disk
        self.filed = 0
        self._chunks: deque[bytes] = deque()
        self._in = self._out = 0  # of memory; two counters, as each has one writer
        self._file: IO[bytes] | None = None
        self._begin = self._end = 0
        self._busy = asyncio.Lock()
        self._closed = False

    @property
    def held(self) -> int:
        """How many bytes are in memory."""
        return self._in - self._out

    @property
    def full(self) -> bool:
        """Whether nothing more may be put."""
        return self.held + self.filed >= self.memory + self.disk

    @property
    def empty(self) -> bool:
        """Whether nothing is held, in memory or on disk."""
        return not self.held and not self.filed

    async def put(self, data: bytes) -> None:
        """Add to the end."""
        if self._closed:
            return
        if self.held < self.memory and not self.filed:
            self._add(data)
            return
        self.filed += len(data)
        async with self._busy:
            if not self._closed:
                await files.run(self._write, data)

    def take(self, size: int) -> bytes:
        """At most so many bytes from the beginning; none if none are in memory."""
        try:
            chunk = self._chunks[0]
        except IndexError:
            return b""
        if len(chunk) > size:
            self._chunks[0] = chunk[size:]
            chunk = chunk[:size]
        else:
            self._chunks.popleft()
        self._out += len(chunk)
        return chunk

    async def fetch(self) -> None:
        """Bring what comes next from disk into memory."""
        async with self._busy:
            if self._chunks or not self.filed or self._closed:
                return
            data = await files.run(self._read)
            self.filed -= len(data)
            self._add(data)

    def _add(self, data: bytes) -> None:
        self._in += len(data)
        self._chunks.append(data)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="decant-body-")  # noqa: SIM115
        self._file.seek(self._end)
        self._file.write(data)
        self._end += len(data)

    def _read(self) -> bytes:
        assert self._file is not None
        self._file.seek(self._begin)
        data = self._file.read(min(_BLOCK, self._end - self._begin))
        self._begin += len(data)
        if self._begin == self._end:
            self._begin = self._end = 0
            self._file.truncate(0)
        return data

    async def close(self) -> None:
        """Forget everything, and remove the file."""
        self._closed = True
        self._chunks.clear()
        self._in = self._out = self.filed = 0
        if self._file is not None or self._busy.locked():
            async with self._busy:
                file, self._file = self._file, None
                if file is not None:
                    await files.run(_close, file)


def _close(file: IO[Any]) -> None:
    with suppress(OSError):
        file.close()
