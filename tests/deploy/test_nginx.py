"""``deploy/nginx.conf`` in Debian's nginx, before three processes."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.load import get
from tests.deploy import proxied
from tests.deploy.conftest import Servers, program
from tests.deploy.proxied import Address

pytestmark = pytest.mark.nginx
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def nginx(servers_behind: Servers, proxy_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "static").mkdir()
    (folder / "static" / "site.css").write_text("body {}\n")
    ports = [(f"127.0.0.1:{5000 + i}", f"127.0.0.1:{port}") for i, port in enumerate(servers_behind.ports)]
    (folder / "decant.conf").write_text(
        replaced(
            CONFIGURATION.read_text(),
            ("listen 80;", f"listen 127.0.0.1:{proxy_port};"),
            ("/srv/decant/src/app/static/", f"{folder}/static/"),
            *ports,
        )
    )
    paths = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root; worker_processes 2; pid {folder}/pid; error_log stderr; daemon off;\nevents {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/decant.conf; }}\n"
    )
    process = subprocess.Popen(
        [program("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = ("127.0.0.1", proxy_port)
    try:
        servers_behind.wait_for(address, "/")
        yield address
    finally:
        process.terminate()
        process.wait(20)


def test_no_get_is_lost_when_a_process_is_killed_under_load(nginx: Address, behind: Servers) -> None:
    proxied.no_get_is_lost(nginx, behind)


def test_what_may_have_had_its_effect_is_not_sent_twice(nginx: Address, behind: Servers) -> None:
    proxied.nobody_is_sent_twice(nginx, behind)


def test_limits_count_across_all_three(nginx: Address, behind: Servers) -> None:
    proxied.settle(nginx, behind)
    proxied.one_limit_for_all(nginx)


def test_clients_cannot_lie_about_their_address(nginx: Address, behind: Servers) -> None:
    proxied.real_address(nginx)


def test_websockets_pass(nginx: Address, behind: Servers) -> None:
    proxied.websocket(nginx)


def test_long_polling_stays_with_one_process(nginx: Address, behind: Servers) -> None:
    """Each client's with its own; clients are told apart by their program, where they share an address."""
    by_client = [
        {get(nginx, "/socket.io/?EIO=4&transport=polling", **{"User-Agent": f"client {number}"})[1] for _ in range(5)}
        for number in range(20)
    ]
    assert [len(answered) for answered in by_client] == [1] * 20
    assert len(set.union(*by_client)) == 3


@pytest.mark.parametrize(("query", "age"), [("?t=0f", "max-age=31536000, immutable"), ("", "max-age=0")])
def test_static_files_do_not_come_from_the_processes(nginx: Address, behind: Servers, query: str, age: str) -> None:
    connection = http.client.HTTPConnection(*nginx, timeout=30)
    connection.request("GET", f"/static/site.css{query}")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"body {}\n")
    assert age in response.headers["Cache-Control"]
    assert response.headers["Server"] == "nginx"
    connection.close()


def test_health_is_for_this_machine(nginx: Address, behind: Servers) -> None:
    assert get(nginx, "/healthz") == (200, "ok\n")
    assert get(nginx, "/readyz")[0] == 200
