"""All static files of one application, by endpoint: read once, off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from werkzeug.security import safe_join

from ..bridge import Threads, can_wait, wait
from .files import File, read_folder
from .settings import Settings, read_settings

__all__ = ["Index", "index_for", "index_of", "is_static"]

T = TypeVar("T")
_files = Threads(1, may_wait=False)
_indexes: WeakKeyDictionary[Any, Index] = WeakKeyDictionary()


def index_of(app: Any) -> Index:
    """The index of an application that was given to ``CDN.init_app``.

    :raises RuntimeError: if it was not.
    """
    try:
        return _indexes[app]
    except KeyError:
        raise RuntimeError("This application has no CDN: call CDN(app), or CDN().init_app(app)") from None


def index_for(app: Any) -> Index:
    """The index of an application that is given to ``CDN.init_app``: the one it has, with its configuration read anew,
    or a new one.
    """
    known = _indexes.get(app)
    if known is None:
        return Index(app)
    known.settings = read_settings(app.config)
    return known


def is_static(settings: Settings, endpoint: str) -> bool:
    """Whether an endpoint is one of ``CDN_ENDPOINTS``, or a blueprint's endpoint of that name."""
    return any(endpoint == name or endpoint.endswith(f".{name}") for name in settings.endpoints)


class Index:
    """Fingerprints and bodies of the files in each static folder of an application and its blueprints."""

    def __init__(self, app: Any) -> None:
        self.settings = read_settings(app.config)
        self.serves = False
        self.complete = False
        self._folders: dict[str, dict[str, File]] = {}
        self._lock = threading.Lock()
        _indexes[app] = self

    def folder_of(self, app: Any, endpoint: str) -> str | None:
        """The absolute path of an endpoint's static folder: its blueprint's, or the application's."""
        blueprint = app.blueprints.get(endpoint.rpartition(".")[0])
        folder = (blueprint or app).static_folder or app.static_folder
        return os.fspath(folder) if folder else None

    def mark(self, file: File) -> str:
        """What the address of a file has as ``t``."""
        return str(int(file.mtime)) if self.settings.fingerprint == "time" else file.fingerprint

    async def read(self, app: Any) -> None:
        """Read every static folder, in a thread."""
        folders = {self.folder_of(app, name) for name in app.view_functions if is_static(self.settings, name)}
        for folder in sorted(filter(None, folders)):
            await _files.run(self._files_in, folder)
        self.complete = True

    def find(self, app: Any, endpoint: str, filename: str) -> File | None:
        """A file; None if it was not there when its folder was read, which happens now if it has not yet."""
        folder = self.folder_of(app, endpoint)
        return None if folder is None else self.find_in(folder, filename)

    def find_in(self, folder: str, filename: str) -> File | None:
        """As :meth:`find`, in a folder that is known."""
        files = self._folders.get(folder)
        if files is None:
            files = _in_thread(self._files_in, folder)
        return files.get(filename)

    def was_added(self, app: Any, endpoint: str, filename: str) -> bool:
        """Whether a file that :meth:`find` does not know is there now."""
        path = safe_join(self.folder_of(app, endpoint) or "", filename)
        return path is not None and _in_thread(os.path.isfile, path)

    async def found(self, app: Any, endpoint: str, filename: str) -> File | None:
        """As :meth:`find`, awaited."""
        folder = self.folder_of(app, endpoint)
        if folder is None:
            return None
        files = self._folders.get(folder)
        if files is None:
            files = await _files.run(self._files_in, folder)
        return files.get(filename)

    def _files_in(self, folder: str) -> dict[str, File]:
        with self._lock:
            files = self._folders.get(folder)
            if files is None:
                used = sum(
                    len(body) for known in self._folders.values() for f in known.values() for body in f.bodies.values()
                )
                left = max(0, self.settings.memory_bytes - used)
                files = read_folder(folder, compress=self.settings.compress, memory_bytes=left)
                self._folders = {**self._folders, folder: files}
        return files


def _in_thread(function: Callable[[str], T], path: str) -> T:
    """On the loop, wait for a thread, if the bridge is there to wait in; elsewhere this is a thread."""
    return wait(_files.run(function, path)) if _on_loop() and can_wait() else function(path)


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
