"""The static files of an application: fingerprints, and what of them is kept in memory, computed once."""

from __future__ import annotations

import gzip
import hashlib
import logging
import mimetypes
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

try:
    import brotli
except ImportError:  # then only gzip, and files that were compressed by others
    brotli = None

__all__ = ["File", "read_folder"]

logger = logging.getLogger("decant.cdn")
_PIECE = 1024 * 1024
_LEAST = 512  # bytes: below, a compressed body saves no packet
_LARGEST = 2 * 1024 * 1024  # bytes: what is larger is sent by the framework, from disk
_SLOW = 64 * 1024  # bytes: from here on, brotli's best level takes a second per megabyte and more
_SIBLINGS = {"br": ".br", "gzip": ".gz"}
_TEXT = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/rss+xml",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/xml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/svg+xml",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    }
)


@dataclass(frozen=True)
class File:
    """One file as it was when the application started.

    ``bodies`` has the content by encoding (``identity``, ``br``, ``gzip``), or nothing where the file stays on disk.
    """

    fingerprint: str
    mimetype: str
    mtime: float
    bodies: Mapping[str, bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self.bodies.values()))

    @property
    def encodings(self) -> list[str]:
        """The compressed ones there are, the smallest first."""
        return sorted((name for name in self.bodies if name != "identity"), key=lambda name: len(self.bodies[name]))


def read_folder(folder: str, *, compress: bool, memory_bytes: int) -> dict[str, File]:
    """Every file below a folder that can be read, by its name there. It reads and compresses: for a thread.

    :param compress: whether to compress what has no compressed file beside it.
    :param memory_bytes: how much of it may be kept; the rest stays on disk.
    """
    mimetypes.init()
    files: dict[str, File] = {}
    for path in sorted(_paths(folder)):
        name = os.path.relpath(path, folder).replace(os.sep, "/")
        try:
            file = _read(path, compress, memory_bytes)
        except OSError as error:  # no right to read it, or it has just been deleted: no reason not to start
            logger.warning("a static file is left to the framework, without a fingerprint: %s", error)
            continue
        memory_bytes -= file.size
        files[name] = file
    return files


def _paths(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path):
                yield path


def _read(path: str, compress: bool, left_bytes: int) -> File:
    found = os.stat(path)
    kind, encoded = mimetypes.guess_type(path)
    mimetype = "application/octet-stream" if encoded else kind or "application/octet-stream"
    if encoded or found.st_size > min(_LARGEST, left_bytes):
        return File(_fingerprint(path), mimetype, found.st_mtime, {})
    with open(path, "rb") as file:
        content = file.read()
    bodies = {"identity": content}
    left_bytes -= len(content)
    for encoding, suffix in _SIBLINGS.items():
        body = _sibling(path + suffix, found.st_mtime)
        if body is None and compress and _is_text(mimetype) and len(content) >= _LEAST:
            body = _compressed(content, encoding)
        if body is not None and len(body) < 0.95 * len(content) and len(body) <= left_bytes:
            bodies[encoding] = body
            left_bytes -= len(body)
    return File(hashlib.sha256(content).hexdigest()[:12], mimetype, found.st_mtime, bodies)


def _fingerprint(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()[:12]


def _is_text(mimetype: str) -> bool:
    return mimetype.startswith("text/") or mimetype in _TEXT


def _sibling(path: str, mtime: float) -> bytes | None:
    """What somebody compressed before, unless the file has changed since."""
    try:
        if os.stat(path).st_mtime < int(mtime) or os.path.getsize(path) > _LARGEST:
            return None
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _compressed(content: bytes, encoding: str) -> bytes | None:
    if encoding == "gzip":
        return gzip.compress(content, 9, mtime=0)
    if brotli is None:
        return None
    compressed: bytes = brotli.compress(content, quality=11 if len(content) < _SLOW else 9)
    return compressed
