"""nginx and HAProxy with the configurations of ``deploy/``, before three servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.servers import Address, Servers
from tests.ports import kept_port

DEPLOY = Path(__file__).parents[2] / "deploy"


def program(name: str) -> str:
    """Where it is: not every user's PATH has the folder that Debian puts it in."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found is not None, f"{name} is not installed"
    return found


def configuration(name: str, servers: Servers, *pairs: tuple[str, str]) -> str:
    """That of ``deploy/`` for the test's ports and paths; what is replaced must be there."""
    text = (DEPLOY / name).read_text()
    ports = [(f"127.0.0.1:{5000 + i}", f"127.0.0.1:{port}") for i, port in enumerate(servers.ports)]
    for old, new in (*ports, *pairs):
        assert old in text
        text = text.replace(old, new)
    return text


def nginx(folder: Path, servers: Servers, port: int) -> list[str]:
    """The command, in the foreground."""
    (folder / "static").mkdir()
    (folder / "static" / "site.css").write_text("body {}\n")
    pairs = [("listen 80;", f"listen 127.0.0.1:{port};"), ("/srv/decant/src/app/static/", f"{folder}/static/")]
    (folder / "decant.conf").write_text(configuration("nginx.conf", servers, *pairs))
    paths = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root; worker_processes 2; pid {folder}/pid; error_log stderr; daemon off;\nevents {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/decant.conf; }}\n"
    )
    return [program("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def haproxy(folder: Path, servers: Servers, port: int) -> list[str]:
    """The command, in the foreground."""
    path = folder / "haproxy.cfg"
    path.write_text(configuration("haproxy.cfg", servers, ("bind :80\n", f"bind 127.0.0.1:{port}\n")))
    return [program("haproxy"), "-db", "-f", str(path)]


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def three(servers: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    redis_url: str = servers.redis_url  # type: ignore[attr-defined]
    made = Servers(tmp_path_factory.mktemp("behind"), redis_url)
    try:
        made.start_missing()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def proxy(
    request: pytest.FixtureRequest, three: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    """Where the proxy listens whose name is the parameter."""
    commands = {"nginx": nginx, "haproxy": haproxy}
    with kept_port() as kept:
        address: Address = kept.getsockname()
        with running(commands[request.param](tmp_path_factory.mktemp(request.param), three, address[1])):
            three.wait_for(address, "/")
            yield address


@pytest.fixture
def behind(three: Servers) -> Servers:
    """All three run, or will soon, when the test begins; nothing is known of former tests."""
    three.forget()
    three.start_missing()
    return three
