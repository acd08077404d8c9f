"""``deploy/haproxy.cfg`` in Debian's HAProxy, before three processes."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.load import Load
from tests.deploy import proxied
from tests.deploy.conftest import Servers, program
from tests.deploy.proxied import Address, until

pytestmark = [pytest.mark.haproxy, pytest.mark.slow]
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"


@pytest.fixture(scope="module")
def haproxy(servers_behind: Servers, proxy_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("haproxy")
    text = CONFIGURATION.read_text()
    pairs = [(f"127.0.0.1:{5000 + i}", f"127.0.0.1:{port}") for i, port in enumerate(servers_behind.ports)]
    for old, new in (("bind :80\n", f"bind 127.0.0.1:{proxy_port}\n"), *pairs):
        assert old in text
        text = text.replace(old, new)
    (folder / "haproxy.cfg").write_text(text)
    process = subprocess.Popen(
        [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = ("127.0.0.1", proxy_port)
    try:
        servers_behind.wait_for(address, "/")
        yield address
    finally:
        process.terminate()
        process.wait(20)


def test_no_get_is_lost_when_a_process_is_killed_under_load(haproxy: Address, behind: Servers) -> None:
    proxied.no_get_is_lost(haproxy, behind)


def test_what_may_have_had_its_effect_is_not_sent_twice(haproxy: Address, behind: Servers) -> None:
    proxied.settle(haproxy, behind)
    proxied.nobody_is_sent_twice(haproxy, behind)


def test_limits_count_across_all_three(haproxy: Address, behind: Servers) -> None:
    proxied.settle(haproxy, behind)
    proxied.one_limit_for_all(haproxy)


def test_clients_cannot_lie_about_their_address(haproxy: Address, behind: Servers) -> None:
    proxied.real_address(haproxy)


def test_websockets_pass(haproxy: Address, behind: Servers) -> None:
    proxied.websocket(haproxy)


def test_long_polling_stays_with_one_process(haproxy: Address, behind: Servers) -> None:
    """By a cookie, which says nothing of the process and is kept from scripts."""
    connection = http.client.HTTPConnection(*haproxy, timeout=30)
    connection.request("GET", "/socket.io/?EIO=4&transport=polling")
    response = connection.getresponse()
    first, cookie = response.read(), response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    for _ in range(10):
        connection.request("GET", "/socket.io/?EIO=4", headers={"Cookie": cookie.partition(";")[0]})
        assert connection.getresponse().read() == first
    connection.close()


def test_readiness_drives_it_and_degraded_is_not_down(haproxy: Address, behind: Servers) -> None:
    """A process that is not ready gets no requests until it is; one that is degraded gets them."""
    proxied.settle(haproxy, behind)
    unready, degraded = behind.ports[:2]
    behind.redis.set(f"{behind.prefix}:unready", unready)
    behind.redis.set(f"{behind.prefix}:degraded", degraded)

    def left_out() -> bool:
        with Load(haproxy, "/", clients=2) as load:
            until(lambda: load.answers.total() > 30)
        assert load.failures == []
        assert str(degraded) in load.answers
        return str(unready) not in load.answers

    until(left_out)
    behind.redis.delete(f"{behind.prefix}:unready")
    proxied.settle(haproxy, behind)
