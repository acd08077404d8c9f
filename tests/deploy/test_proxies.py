"""What a proxy of ``deploy/`` does before three servers: each test with Debian's nginx and with its HAProxy."""

from __future__ import annotations

import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from tests.cli.load import Load, get
from tests.deploy.servers import Address, Servers, until

NGINX = pytest.param("nginx", marks=pytest.mark.nginx)
HAPROXY = pytest.param("haproxy", marks=[pytest.mark.haproxy, pytest.mark.slow])


def before(*proxies: Any) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("proxy", proxies, indirect=True, scope="module")


@before(NGINX, HAPROXY)
def test_no_get_is_lost_when_a_process_is_killed_under_load(proxy: Address, behind: Servers) -> None:
    """Every one is answered, whole; those that the killed one had begun with, by the other two."""
    behind.wait_for_all(proxy)
    victim = behind.ports[0]
    with Load(proxy, "/", clients=8) as load:
        until(lambda: load.answers[str(victim)] > 20)
        behind.kill(victim)
        after = load.answers.total()
        until(lambda: load.answers.total() > after + 200)
    assert load.failures == []
    assert {str(port) for port in behind.ports[1:]} <= set(load.answers)


@before(NGINX, HAPROXY)
def test_clients_cannot_lie_about_their_address(proxy: Address, behind: Servers) -> None:
    """It is the one that the proxy saw, whatever the client says of itself."""
    lies = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "Forwarded": "for=203.0.113.9",
        "Host": "example.org",
    }
    assert json.loads(get(proxy, "/seen?a=%C3%A4", **lies)[1]) == {
        "address": "127.0.0.1",
        "url": "http://example.org/seen?a=ä",
        "forwarded": [],
    }


def received(sock: socket.socket, client: WSConnection) -> Iterator[Any]:
    """Events as they come, in however many pieces."""
    while True:
        yield from client.events()
        data = sock.recv(4096)
        assert data
        client.receive_data(data)


def text_of(events: Iterator[Any]) -> str:
    """The next message."""
    text = ""
    for event in events:
        assert isinstance(event, TextMessage), event
        text += event.data
        if event.message_finished:
            break
    return text


@before(NGINX, HAPROXY)
def test_websockets_pass(proxy: Address, behind: Servers) -> None:
    """They are upgraded, and stay with one server."""
    client = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection(proxy, timeout=30) as sock:
        sock.sendall(client.send(Request(host="example.org", target="/ws")))
        first = next(received(sock, client))
        assert isinstance(first, AcceptConnection), first
        answers = set()
        for _ in range(5):
            sock.sendall(client.send(TextMessage("hello")))
            answers.add(text_of(received(sock, client)))
    assert len(answers) == 1
    assert answers.pop().endswith(" hello")


@before(NGINX)
@pytest.mark.parametrize(("query", "age"), [("?t=0f", "max-age=31536000, immutable"), ("", "max-age=0")])
def test_static_files_do_not_come_from_the_processes(proxy: Address, behind: Servers, query: str, age: str) -> None:
    connection = http.client.HTTPConnection(*proxy, timeout=30)
    connection.request("GET", f"/static/site.css{query}")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"body {}\n")
    assert age in response.headers["Cache-Control"]
    assert response.headers["Server"] == "nginx"
    connection.close()


@before(NGINX)
def test_health_is_for_this_machine(proxy: Address, behind: Servers) -> None:
    assert get(proxy, "/healthz") == (200, "ok\n")
    assert get(proxy, "/readyz")[0] == 200


@before(HAPROXY)
def test_long_polling_stays_with_one_process_by_a_cookie(proxy: Address, behind: Servers) -> None:
    """It says nothing of the process, and is kept from scripts."""
    connection = http.client.HTTPConnection(*proxy, timeout=30)
    connection.request("GET", "/socket.io/?EIO=4&transport=polling")
    response = connection.getresponse()
    first, cookie = response.read(), response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    for _ in range(10):
        connection.request("GET", "/socket.io/?EIO=4", headers={"Cookie": cookie.partition(";")[0]})
        assert connection.getresponse().read() == first
    connection.close()


@before(NGINX)
def test_long_polling_stays_with_one_process_by_address_and_program(proxy: Address, behind: Servers) -> None:
    """Each client's with its own; clients are told apart by their program, where they share an address."""
    behind.wait_for_all(proxy)

    by_client = [
        {get(proxy, "/socket.io/?EIO=4&transport=polling", **{"User-Agent": f"client {number}"})[1] for _ in range(3)}
        for number in range(40)  # so many that each of the three has some, whatever the ports are
    ]
    assert [len(answered) for answered in by_client] == [1] * 40
    assert len(set.union(*by_client)) == 3


@before(NGINX, HAPROXY)
def test_limits_count_across_all_three(proxy: Address, behind: Servers) -> None:
    """Ten per minute are ten, whichever of the three counts them."""
    behind.wait_for_all(proxy)
    statuses, answered_by = Counter[int](), Counter[str]()
    for _ in range(30):
        status, body = get(proxy, "/limited")
        statuses[status] += 1
        if status == 200:
            answered_by[body] += 1
    assert statuses == {200: 10, 429: 20}
    assert len(answered_by) == 3


@before(HAPROXY)
def test_readiness_drives_it_and_degraded_is_not_down(proxy: Address, behind: Servers) -> None:
    """A process that is not ready gets no requests until it is; one that is degraded gets them."""
    behind.wait_for_all(proxy)
    unready, degraded = behind.ports[:2]
    behind.redis.set(f"{behind.prefix}:unready", unready)
    behind.redis.set(f"{behind.prefix}:degraded", degraded)

    def left_out() -> bool:
        with Load(proxy, "/", clients=2) as load:
            until(lambda: load.answers.total() > 30)
        assert load.failures == []
        assert str(degraded) in load.answers
        return str(unready) not in load.answers

    until(left_out)
    behind.redis.delete(f"{behind.prefix}:unready")
    behind.wait_for_all(proxy)


@before(NGINX, HAPROXY)
def test_what_may_have_had_its_effect_is_not_sent_twice(proxy: Address, behind: Servers) -> None:
    """A server that dies of a GET, before its answer or with the head of it given away: another is asked. Of a POST:
    the client is told, as it may have had its effect. Three die here, one after the other."""
    behind.wait_for_all(proxy)
    for path, what in (("/die", "GET"), ("/die-between", "between")):
        assert get(proxy, path)[0] == 200
        assert behind.count(what) == 2
    connection = http.client.HTTPConnection(*proxy, timeout=30)
    connection.request("POST", "/die", body=b"x")
    assert connection.getresponse().status == 502
    connection.close()
    assert behind.count("POST") == 1
