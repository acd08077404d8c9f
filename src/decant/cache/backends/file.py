"""A cache in the files of one directory, shared by the processes of one machine."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from ...bridge import Threads
from ...errors import ConfigError
from ..utils import Timeout
from .base import BaseCache, ignores

__all__ = ["FileSystemCache"]

_HEAD: Final = struct.Struct("<8sd")
_MAGIC: Final = b"decant1\n"
_SUFFIX: Final = ".cache"
_LOCK: Final = ".lock"


class FileSystemCache(BaseCache):
    """One file per value, replaced at once and never half-written; file work runs in threads.

    :param cache_dir: made if it is missing. The cache deletes only files that end in ``.cache``.
    :param threshold: how many values at most; beyond it expired ones, then the oldest are deleted. 0: no limit.
    :param mode: of the files.
    :param hash_method: makes a file's name of a key.
    :param ignore_errors: Flask-Caching's older name of ``ignore_delete_many_errors``.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str],
        threshold: int = 500,
        default_timeout: Timeout = 300,
        mode: int | None = 0o600,
        hash_method: Callable[[bytes], Any] = hashlib.sha256,
        ignore_delete_many_errors: bool = False,
        ignore_errors: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(default_timeout, ignores(ignore_delete_many_errors, ignore_errors))
        self.path, self._threshold, self._mode = Path(cache_dir), threshold, 0o600 if mode is None else mode
        self._hash_method, self._clock = hash_method, clock
        self._threads = Threads(4, max_queued=1000, may_wait=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("CACHE_DIR", str(cache_dir), f"a directory that can be written to ({error})") from error
        if not os.access(self.path, os.W_OK):
            raise ConfigError("CACHE_DIR", str(cache_dir), "a directory that can be written to")

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """``CACHE_DIR``, ``CACHE_THRESHOLD``, ``CACHE_FILE_HASH_METHOD``."""
        given = {"threshold": config["CACHE_THRESHOLD"], "hash_method": config["CACHE_FILE_HASH_METHOD"], **kwargs}
        if args or "cache_dir" in given:
            return cls(*args, **given)
        folder = config.get("CACHE_DIR")
        if not isinstance(folder, str | os.PathLike):
            raise ConfigError("CACHE_DIR", folder, "the path of a directory is needed for FileSystemCache")
        return cls(folder, **given)

    # -- in threads --------------------------------------------------------------------------------------------

    def _file(self, key: str) -> Path:
        return self.path / f"{self._hash_method(key.encode()).hexdigest()}{_SUFFIX}"

    def _read(self, key: str) -> tuple[bytes, float] | None:
        """The value and when it ends, in seconds since the epoch."""
        try:
            data = self._file(key).read_bytes()
        except FileNotFoundError:
            return None
        if len(data) < _HEAD.size or not data.startswith(_MAGIC):
            return None
        _, due = _HEAD.unpack_from(data)
        return (data[_HEAD.size :], due) if due > self._clock() else None

    def _write(self, key: str, value: bytes, due: float) -> None:
        handle, name = tempfile.mkstemp(dir=self.path, suffix=f"{_SUFFIX}.tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_HEAD.pack(_MAGIC, due) + value)
            os.chmod(name, self._mode)
            os.replace(name, self._file(key))
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise

    def _due(self, timeout_s: float | None) -> float:
        return math.inf if timeout_s is None else self._clock() + timeout_s

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """What reads and then writes: one process and thread at a time."""
        handle = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, self._mode)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write_many(self, values: Mapping[str, bytes], due: float) -> None:
        for key, value in values.items():
            self._write(key, value, due)
        if self._threshold:
            self._prune({str(self._file(key)) for key in values})

    def _prune(self, written: set[str]) -> None:
        files = [entry for entry in os.scandir(self.path) if entry.name.endswith(_SUFFIX)]
        if len(files) <= self._threshold:
            return
        ages: list[tuple[bool, bool, float, str]] = []
        for entry in files:
            with suppress(OSError, struct.error), open(entry.path, "rb") as file:
                _, due = _HEAD.unpack(file.read(_HEAD.size))
                # What was written now goes last, though others seem newer: clocks tick, and are put back.
                is_new = entry.path in written
                ages.append((due > self._clock(), is_new, entry.stat().st_mtime_ns, entry.path))
        for *_, path in sorted(ages)[: len(files) - self._threshold]:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _add_now(self, key: str, value: bytes, due: float) -> bool:
        with self._alone():
            if self._read(key) is not None:
                return False
            self._write_many({key: value}, due)
            return True

    def _remove(self, keys: Sequence[str]) -> list[str]:
        removed = []
        for key in keys:
            if self._read(key) is not None:
                removed.append(key)
            with suppress(FileNotFoundError):
                self._file(key).unlink()
        return removed

    def _incr_now(self, key: str, delta: int, due: float) -> int:
        with self._alone():
            found = self._read(key)
            number = int(found[0] if found else 0) + delta
            self._write(key, b"%d" % number, found[1] if found else due)
            return number

    def _touch_now(self, keys: Sequence[str], due: float) -> None:
        with self._alone():
            for key in keys:
                found = self._read(key)
                if found is not None and found[1] < due:
                    self._write(key, found[0], due)

    def _remove_if(self, key: str, value: bytes) -> bool:
        with self._alone():
            found = self._read(key)
            return found is not None and found[0] == value and bool(self._remove([key]))

    def _remove_all(self) -> bool:
        for entry in os.scandir(self.path):
            if entry.name.endswith((_SUFFIX, f"{_SUFFIX}.tmp")):
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)
        return True

    # -- on the loop -------------------------------------------------------------------------------------------

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await self._threads.run(lambda: [self._read(key) for key in keys])
        return [None if item is None else item[0] for item in found]

    async def _set(self, values: Mapping[str, bytes], timeout_s: float | None) -> None:
        await self._threads.run(self._write_many, values, self._due(timeout_s))

    async def _add(self, key: str, value: bytes, timeout_s: float | None) -> bool:
        return await self._threads.run(self._add_now, key, value, self._due(timeout_s))

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        return await self._threads.run(self._remove, keys)

    async def _incr(self, key: str, delta: int, timeout_s: float | None) -> int:
        return await self._threads.run(self._incr_now, key, delta, self._due(timeout_s))

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        await self._threads.run(self._touch_now, keys, self._due(timeout_s))

    async def _delete_if(self, key: str, value: bytes) -> bool:
        return await self._threads.run(self._remove_if, key, value)

    async def _clear(self) -> bool:
        return await self._threads.run(self._remove_all)
