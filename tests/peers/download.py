"""The source distributions of other projects, for their tests: downloaded once, checked, and kept outside the tree.

They are kept in ``$DECANT_PEERS_CACHE``, else in ``decant/peers`` of ``$XDG_CACHE_HOME`` or of ``~/.cache``. pip
downloads them, so its settings (index, proxy, certificates) count.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DownloadError", "Source", "cache_folder", "install", "unpacked"]

TIMEOUT_S = 300


class DownloadError(Exception):
    """What could not be downloaded, or is not what was expected; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One source distribution on the package index."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def cache_folder() -> Path:
    """Where downloads are kept; made if it is not there."""
    own = os.environ.get("DECANT_PEERS_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(own) if own else Path(shared, "decant", "peers")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def unpacked(source: Source) -> Path:
    """The folder of a source distribution as it was published; downloaded and unpacked if it is not there yet.

    It is shared by all runs, so nobody may write to it: tests run in a copy.

    :raises DownloadError: if pip cannot download it, or its SHA-256 is another.
    """
    folder = cache_folder() / f"{source.name.lower()}-{source.version}-{source.sha256[:12]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as temporary:
            archive = _downloaded(source, Path(temporary))
            _unpack(archive, Path(temporary, "unpacked"))
            _put(next(Path(temporary, "unpacked").iterdir()), folder)
    return folder


def _downloaded(source: Source, folder: Path) -> Path:
    _pip(f"download {source}", "download", "--no-deps", "--no-binary=:all:", f"--dest={folder}", _pinned(source))
    archives = list(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        raise DownloadError(
            f"pip left {[file.name for file in folder.iterdir()]} for {source}: one .tar.gz was expected"
        )
    found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if found != source.sha256:
        raise DownloadError(
            f"{archives[0].name} has the SHA-256 {found}, not {source.sha256}: is the index one you trust?"
        )
    return archives[0]


def _pinned(source: Source) -> str:
    return f"{source.name}=={source.version}"


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def _put(made: Path, place: Path) -> None:
    """Move a folder to its place, where another run may have put the same meanwhile."""
    try:
        made.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(made)


def install(requirements: Path) -> Path:
    """What the suites need beside our own environment, in a folder for ``sys.path``: our environment stays as it is.

    :param requirements: a pip file with a hash for each requirement.
    """
    names = f"{sys.version_info[:2]}".encode()
    key = hashlib.sha256(requirements.read_bytes() + names).hexdigest()[:12]
    folder = cache_folder() / f"{requirements.stem}-{key}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as temporary:
            target = Path(temporary, "installed")
            arguments = ("--no-deps", "--require-hashes", f"--target={target}", "-r", str(requirements))
            _pip(f"install {requirements.name}", "install", *arguments)
            _put(target, folder)
    return folder


def _pip(what: str, command: str, *arguments: str) -> None:
    line = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip could not {what} within {TIMEOUT_S} s: is the package index reachable?") from error
    if done.returncode != 0:
        raise DownloadError(f"pip could not {what}: {done.stderr.strip() or done.stdout.strip()}")
