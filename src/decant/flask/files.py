"""Files that the shim reads and writes: never on the loop itself."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from werkzeug.wsgi import FileWrapper as WerkzeugFileWrapper

from ..bridge import Threads, can_wait, wait

__all__ = ["FileWrapper", "files"]

files = Threads(4, may_wait=False)
"""The threads for disks: few, and of their own, so that a slow disk holds no view's thread."""
_BLOCK: Final = 128 * 1024


class FileWrapper(WerkzeugFileWrapper):
    """``wsgi.file_wrapper``: Werkzeug's, in blocks of 128 KiB, as each block is handed to the loop.

    What differs: where it is iterated over on the loop, each block is read in a thread.
    """

    def __init__(self, file: Any, buffer_size: int = 8192) -> None:
        super().__init__(file, max(buffer_size, _BLOCK))

    def __next__(self) -> bytes:
        if asyncio._get_running_loop() is not None and can_wait():
            data: bytes = wait(files.run(self.file.read, self.buffer_size))
        else:
            data = self.file.read(self.buffer_size)
        if data:
            return data
        raise StopIteration
