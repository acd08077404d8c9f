"""What every proxy in ``deploy/`` must do, whichever it is."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import Counter

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from tests.cli.load import Load, get
from tests.deploy.conftest import Servers

__all__ = ["Address", "no_get_is_lost", "nobody_is_sent_twice", "one_limit_for_all", "real_address", "websocket"]

Address = tuple[str, int]


def no_get_is_lost(proxy: Address, behind: Servers) -> None:
    """One of three is killed under load, and no GET is lost; the other two have answered.

    An answer may be cut, which is not begun anew by any proxy that has passed on its head, nginx neither: Hypercorn
    sends the head alone, so whoever is killed right then has sent it and no body. Under this load it is so for one of
    the eight clients in about every second run. These are counted out, and bounded.
    """
    victim = behind.ports[0]
    with Load(proxy, "/", clients=8) as load:
        until(lambda: load.answers[str(victim)] > 20)
        behind.kill(victim)
        after = load.answers.total()
        until(lambda: load.answers.total() > after + 200)
    lost = [failure for failure in load.failures if "IncompleteRead" not in failure]
    assert not lost, lost[:3]
    assert len(load.failures) <= 3
    assert {str(port) for port in behind.ports[1:]} <= set(load.answers)


def nobody_is_sent_twice(proxy: Address, behind: Servers) -> None:
    """A server that dies of a GET: another is asked. Of a POST: the client is told, as it may have had its effect."""
    assert get(proxy, "/die")[0] == 200
    assert int(behind.redis.get(f"{behind.prefix}:GET") or 0) == 2
    settle(proxy, behind)
    connection = http.client.HTTPConnection(*proxy, timeout=30)
    connection.request("POST", "/die", body=b"x")
    assert connection.getresponse().status == 502
    connection.close()
    assert int(behind.redis.get(f"{behind.prefix}:POST") or 0) == 1
    settle(proxy, behind)


def one_limit_for_all(proxy: Address) -> None:
    """Ten per minute are ten, whichever of the three counts them."""
    statuses, answered_by = Counter[int](), Counter[str]()
    for _ in range(30):
        status, body = get(proxy, "/limited")
        statuses[status] += 1
        if status == 200:
            answered_by[body] += 1
    assert statuses == {200: 10, 429: 20}
    assert len(answered_by) == 3


def real_address(proxy: Address) -> None:
    """The client's address is the one that the proxy saw, whatever the client says of itself."""
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


def websocket(proxy: Address) -> None:
    """It is upgraded, and stays with one server."""
    client = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection(proxy, timeout=30) as sock:
        sock.sendall(client.send(Request(host="example.org", target="/ws")))
        client.receive_data(sock.recv(4096))
        first = next(client.events())
        assert isinstance(first, AcceptConnection), first
        answers = set()
        for _ in range(5):
            sock.sendall(client.send(TextMessage("hello")))
            client.receive_data(sock.recv(4096))
            answers |= {event.data for event in client.events() if isinstance(event, TextMessage)}
    assert len(answers) == 1
    assert answers.pop().endswith(" hello")


def settle(proxy: Address, behind: Servers) -> None:
    """Wait until all three are back and the proxy sends requests to each."""
    for port in behind.ports:
        behind.wait_for(("127.0.0.1", port), "/readyz")
    seen: set[str] = set()

    def all_answer() -> bool:
        seen.add(get(proxy, "/")[1])
        return seen >= set(map(str, behind.ports))

    until(all_answer)


def until(condition: object, timeout_s: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
