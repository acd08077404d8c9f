"""The metrics page: of a Quart application, of a Flask application, and on a port of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from uuid import uuid4

import flask
import pytest
from prometheus_client.parser import text_string_to_metric_families

from decant import Quart
from decant.errors import MissingExtra
from decant.ops.metrics import Exposition, add_metrics, count_requests, exposition
from decant.ops.registry import gauge
from decant.quart import websocket
from tests.serving import Peer, serve


@pytest.fixture
def number() -> str:
    """The name of a gauge that says 7."""
    name = f"test_{uuid4().hex}"
    gauge(name, "A number").set(7)
    return name


def value(text: str, name: str) -> float | None:
    families = text_string_to_metric_families(text)
    return next((sample.value for family in families for sample in family.samples if sample.name == name), None)


def made(kind: str, token: str | None) -> Any:
    app: Any = Quart("counted") if kind == "quart" else flask.Flask("counted")
    add_metrics(app, token=token)
    return app


async def ask(app: Any, **headers: str) -> tuple[int, str, str]:
    if isinstance(app, Quart):
        response = await app.test_client().get("/metrics", headers=headers)
        return response.status_code, response.content_type, await response.get_data(as_text=True)
    answer = await asyncio.to_thread(lambda: app.test_client().get("/metrics", headers=headers))
    return answer.status_code, answer.content_type, answer.text


@pytest.mark.parametrize("kind", ["quart", "flask"])
async def test_the_page_of_an_application(kind: str, number: str) -> None:
    """Prometheus reads it, and it counts its own requests."""
    app = await asyncio.to_thread(made, kind, None)
    await ask(app)
    status, content_type, text = await ask(app)
    assert (status, content_type.partition(";")[0]) == (200, "text/plain")
    assert value(text, number) == 7
    assert f'decant_requests_total{{endpoint="decant_metrics",half="{kind}",method="GET"}}' in text
    status, content_type, text = await ask(app, Accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("kind", ["quart", "flask"])
async def test_a_page_with_a_token_is_for_who_has_it(kind: str, number: str) -> None:
    app = await asyncio.to_thread(made, kind, "s3cret")
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
        status, _, text = await ask(app, **given)
        assert (status, number in text) == (401, False)
    status, _, text = await ask(app, Authorization="Bearer s3cret")
    assert (status, number in text) == (200, True)


async def test_the_page_on_a_port_of_its_own(number: str) -> None:
    """An ASGI application, started and stopped by its server."""
    async with serve(Exposition(token="secret")) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        async with Peer.connect(address) as peer:
            await peer.get("/", "Authorization: Bearer secret", "Connection: close")
            answer = (await peer.rest()).decode()
            assert answer.startswith("HTTP/1.1 200")
            assert f"{number} 7.0" in answer
        async with Peer.connect(address) as peer:
            await peer.get("/")
            assert await peer.status() == 401


@pytest.fixture
def sockets() -> Quart:
    app = Quart("counted")
    count_requests(app)
    count_requests(app)  # again, which counts nothing twice

    @app.websocket("/socket", endpoint="counted_socket")
    async def socket() -> None:
        await websocket.send("hello")

    return app


async def test_websockets_are_counted(sockets: Quart) -> None:
    async with sockets.test_client().websocket("/socket") as opened:
        assert await opened.receive() == "hello"
    text = (await asyncio.to_thread(exposition))[0].decode()
    assert 'decant_requests_total{endpoint="counted_socket",half="quart",method="WEBSOCKET"} 1.0' in text


def test_without_prometheus_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for call in (exposition, Exposition, lambda: add_metrics(flask.Flask("x"))):
        with pytest.raises(MissingExtra, match=r"pip install 'quart-decant\[metrics\]'"):
            call()
