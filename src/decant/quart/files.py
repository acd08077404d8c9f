"""``send_file`` and ``send_from_directory`` with Flask's keyword arguments."""

from __future__ import annotations

import io
import mimetypes
import os
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any
from urllib.parse import quote
from zlib import adler32

import aiofiles
from quart import current_app, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

from ..bridge import Threads
from .incoming import flask_compat

__all__ = ["opened", "send_file", "send_from_directory"]

_files = Threads(8, may_wait=False)
_PIECE = 128 * 1024
_QUART_NAMES = {
    "filename_or_io": "path_or_file",
    "file_name": "path",
    "attachment_filename": "download_name",
    "add_etags": "etag",
    "cache_timeout": "max_age",
}


@dataclass
class _Found:
    """A file on disk: its body, made off the loop, since that looks the file up."""

    path: str
    size: int
    mtime: float
    body: Any


def _find(path: str, body_class: Callable[[str], Any]) -> _Found:
    path = os.path.abspath(path)
    found = os.stat(path)
    return _Found(path, found.st_size, found.st_mtime, body_class(path))


@dataclass
class _Options:
    """The keyword arguments of ``flask.send_file`` and their defaults."""

    mimetype: str | None = None
    as_attachment: bool = False
    download_name: str | None = None
    conditional: bool | None = None
    etag: bool | str = True
    last_modified: datetime | float | None = None
    max_age: int | Callable[[str | None], int | None] | None = None


async def send_file(*args: Any, **kwargs: Any) -> Any:
    """``send_file(path_or_file, mimetype=None, as_attachment=False, download_name=None, conditional=True, etag=True,
    last_modified=None, max_age=None)``: send a file, by its path or open in binary mode. Follows ``flask.send_file``.

    Quart's names are taken too: ``filename_or_io``, ``attachment_filename``, ``add_etags``, ``cache_timeout``.
    What differs from Flask: ``USE_X_SENDFILE`` is ignored. What ``FLASK_COMPAT = False`` changes, to Quart's way: a
    relative path starts in the working directory, not in ``app.root_path``; ``conditional`` is false unless given;
    there is no ``Content-Disposition`` unless ``as_attachment``; ``Cache-Control`` says ``public``.

    :raises TypeError: without a name that tells the type, or the attachment's name.
    :raises ValueError: for a file that is open as text.
    """
    path_or_file, options = _arguments("send_file", "path_or_file", args, kwargs)
    if isinstance(path_or_file, io.TextIOBase):
        raise ValueError("the file is open as text: open it in binary mode, or use io.BytesIO")
    found = None
    if isinstance(path_or_file, str | bytes | os.PathLike):
        path = _absolute(path_or_file)
        found = await _files.run(_find, path, current_app.response_class.file_body_class)
        options.download_name = options.download_name or os.path.basename(found.path)
    if not mimetypes.inited:
        await _files.run(mimetypes.init)  # it reads files
    headers = Headers()
    mimetype = options.mimetype or _guessed(options, headers)
    _name(options, headers)
    body = found.body if found else _body(path_or_file)
    response: Any = current_app.response_class(body, mimetype=mimetype, headers=headers)
    response.content_length = found.size if found else getattr(body, "size", None)
    _describe(response, options, found)
    if flask_compat() if options.conditional is None else options.conditional:
        await response.make_conditional(request, accept_ranges=True, complete_length=response.content_length)
    return response


async def send_from_directory(directory: Any, *args: Any, **kwargs: Any) -> Any:
    """``send_from_directory(directory, path, …)``: :func:`send_file` for a path that a client may give.

    :raises werkzeug.exceptions.NotFound: if there is no such file below ``directory``.
    """
    name, options = _arguments("send_from_directory", "path", args, kwargs)
    path = safe_join(_absolute(directory), os.fspath(name))
    try:
        if path is None or not await _files.run(os.path.isfile, path):
            raise NotFound
    except ValueError:  # a null byte
        raise NotFound from None
    if options.conditional is None:
        options.conditional = True
    return await send_file(path, **vars(options))


def _arguments(function: str, first: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, _Options]:
    names = [first, *_Options.__dataclass_fields__]
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        name = _QUART_NAMES.get(name, name)
        if name not in names or name in given or len(args) > len(names):
            raise TypeError(f"{function}() got an unexpected or repeated argument {name!r}")
        given[name] = value
    if first not in given:
        raise TypeError(f"{function}() needs {first!r}")
    return given.pop(first), _Options(**given)


def _absolute(path: str | bytes | os.PathLike[Any]) -> str:
    path = os.fsdecode(path)
    return os.path.join(current_app.root_path, path) if flask_compat() else path


def opened(folder: Any, resource: Any, mode: str, encoding: str | None, *, readable_only: bool) -> Any:
    """What ``async with await app.open_resource(…) as file`` enters: a file that is read in threads.

    :raises ValueError: for a mode that writes, where ``readable_only``.
    """
    if readable_only and mode not in {"r", "rt", "rb"}:
        raise ValueError("resources can only be opened for reading")
    path = os.path.join(folder, resource)
    return aiofiles.open(path, mode, encoding=None if "b" in mode else encoding)


def _body(file: IO[bytes]) -> Any:
    if isinstance(file, io.BytesIO):
        return current_app.response_class.io_body_class(file)
    return _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    try:
        while piece := file.read(_PIECE):
            yield piece
    finally:
        file.close()


def _guessed(options: _Options, headers: Headers) -> str:
    if options.download_name is None:
        raise TypeError("the MIME type cannot be told without a file name: give 'download_name', 'mimetype' or a path")
    mimetype, encoding = mimetypes.guess_type(options.download_name)
    if encoding is not None and not options.as_attachment:  # a browser would unpack what it is to save
        headers.set("Content-Encoding", encoding)
    return mimetype or "application/octet-stream"


def _name(options: _Options, headers: Headers) -> None:
    name = options.download_name
    if name is None:
        if options.as_attachment:
            raise TypeError("an attachment needs a name: give 'download_name', or a path instead of a file")
        return
    if not (options.as_attachment or flask_compat()):
        return
    if name.isascii():
        names = {"filename": name}
    else:
        simple = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
        names = {"filename": simple, "filename*": f"UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"}
    headers.set("Content-Disposition", "attachment" if options.as_attachment else "inline", **names)


def _describe(response: Any, options: _Options, found: _Found | None) -> None:
    """The headers that caches read: as Flask, ``no-cache`` unless it is said how long to keep the file."""
    path = found.path if found else None
    if options.last_modified is not None:
        response.last_modified = options.last_modified
    elif found is not None:
        response.last_modified = found.mtime
    max_age = current_app.get_send_file_max_age if options.max_age is None else options.max_age
    seconds = max_age(path) if callable(max_age) else max_age
    if not flask_compat() or (seconds or 0) > 0:
        response.cache_control.public = True
    else:
        response.cache_control.no_cache = True
    if seconds is not None:
        response.cache_control.max_age = seconds
        response.expires = int(time.time() + seconds)
    if isinstance(options.etag, str):
        response.set_etag(options.etag)
    elif options.etag and found is not None:
        response.set_etag(f"{found.mtime}-{found.size}-{adler32(found.path.encode()) & 0xFFFFFFFF}")
