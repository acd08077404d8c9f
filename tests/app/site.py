"""The application in a process of its own, on a real socket."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

__all__ = ["Site", "serve_site"]

PATIENCE_S = 90.0  # of the first request, too: it waits on the socket until the site has started


class Site:
    """Where it listens, and what it has logged."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port, self.process, self.log = port, process, log

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())
        finally:
            connection.close()

    def log_in(self, username: str, password: str) -> tuple[str, str]:
        """Register; the cookie of the session, and its CSRF token."""
        _, page, headers = self.get("/register")
        form = urlencode({"username": username, "password": password, "csrf_token": _token(page)})
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request(
            "POST",
            "/register",
            form,
            {"Content-Type": "application/x-www-form-urlencoded", "Cookie": _cookie(headers)},
        )
        response = connection.getresponse()
        assert response.status == 303, response.read()
        cookie = _cookie(dict(response.getheaders()))
        connection.close()
        return cookie, _token(self.get("/links/new", Cookie=cookie)[1])


def _cookie(headers: dict[str, str]) -> str:
    found = {name.lower(): value for name, value in headers.items()}
    return found["set-cookie"].partition(";")[0]


def _token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@contextmanager
def serve_site(settings: dict[str, Any], log: Path, *options: str) -> Iterator[Site]:
    """Run Hypercorn, with more options, on a socket that is bound for it, until the block ends."""
    given = {key: str(value) for key, value in settings.items() if key not in ("TESTING", "PROPAGATE_EXCEPTIONS")}
    with log.open("wb") as stream, socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        process = subprocess.Popen(
            [sys.executable, "-m", "hypercorn", *options, "--bind", f"fd://{listening.fileno()}", "app.asgi:app"],
            env={**os.environ, **given},
            stdout=stream,
            stderr=stream,
            pass_fds=[listening.fileno()],
        )
        site = Site(listening.getsockname()[1], process, log)
    try:
        _await_ready(site)
        yield site
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(site: Site) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if site.process.poll() is not None:
            break
        try:
            if site.get("/readyz")[0] == 200:
                return
        except (OSError, HTTPException):  # HTTPException: it ended before it answered
            pass
        time.sleep(0.1)
    raise AssertionError(f"the site did not start:\n{site.log.read_text()}")
