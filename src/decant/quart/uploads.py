"""Uploaded files: in memory while they are small, else in a temporary file that the event loop never waits for."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar

from ..bridge import Threads, can_wait, wait

__all__ = ["Upload", "for_part"]

T = TypeVar("T")
_IN_MEMORY_BYTES = 500 * 1024  # Werkzeug's
_files = Threads(8, may_wait=False)


class Upload(io.BufferedIOBase):
    """A binary file, read and written like any other, which moves to the disk when it grows past 500 KiB.

    Follows Werkzeug's default, ``tempfile.SpooledTemporaryFile``. What differs: on the event loop, in the bridge of a
    request, what touches the disk runs in a thread, and the call waits for it.
    """

    def __init__(self) -> None:
        self._file: Any = io.BytesIO()
        self._on_disk = False

    def _do(self, work: Callable[..., T], *args: Any) -> T:
        if self._on_disk and _on_loop() and can_wait():
            return wait(_files.run(work, *args))
        return work(*args)

    def _to_disk(self) -> None:
        file = tempfile.TemporaryFile(prefix="decant-", buffering=0)  # noqa: SIM115  # closed with this
        position = self._file.tell()
        write_all(file, self._file.getbuffer())
        file.seek(position)
        self._file = file

    def _move(self) -> None:
        if not self._on_disk:
            self._on_disk = True
            self._do(self._to_disk)

    @property
    def name(self) -> Any:
        """The file descriptor, once it is on the disk."""
        return getattr(self._file, "name", None)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._do(read_all, self._file, -1 if size is None else size)

    read1 = read

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._do(read_line, self._file, -1 if size is None else size)

    def write(self, data: Any, /) -> int:
        if not self._on_disk and self._file.tell() + len(data) > _IN_MEMORY_BYTES:
            self._move()
        return self._do(write_all, self._file, data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def truncate(self, size: int | None = None, /) -> int:
        return int(self._do(self._file.truncate, size))

    def fileno(self) -> int:
        """Its descriptor, for which it moves to the disk."""
        self._move()
        return int(self._file.fileno())

    def close(self) -> None:
        """Throw it away."""
        self._file.close()
        super().close()


def for_part(
    total_content_length: int | None, content_type: str | None, filename: str | None, content_length: int | None = None
) -> Any:
    """The ``stream_factory`` of a form's parser: what the client says of a file decides nothing."""
    return Upload()


def write_all(file: Any, data: Any) -> int:
    rest = memoryview(data).cast("B")
    size = len(rest)
    while rest:
        rest = rest[file.write(rest) :]
    return size


def read_all(file: Any, size: int) -> bytes:
    """As a buffered file's ``read``: fewer bytes only at the end."""
    if size < 0:
        return bytes(file.read())
    pieces = []
    while size and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def read_line(file: Any, size: int) -> bytes:
    """As ``readline``, which an unbuffered file would do byte by byte."""
    line = b""
    while size < 0 or len(line) < size:
        piece = file.read(8192 if size < 0 else min(8192, size - len(line)))
        found = piece.find(b"\n") + 1
        line += piece[: found or None]
        if found:
            file.seek(found - len(piece), io.SEEK_CUR)
        if found or not piece:
            break
    return line


def _on_loop() -> bool:
    return asyncio._get_running_loop() is not None
