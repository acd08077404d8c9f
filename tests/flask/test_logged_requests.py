"""What the log says of a request names its view, and nothing that the client has sent."""

from __future__ import annotations

import asyncio
import threading

import flask
import pytest

from decant.flask import asgi
from tests.flask.asgi_calls import Call, until


async def test_a_view_that_blocks_after_its_client_has_gone(app: flask.Flask, caplog: pytest.LogCaptureFixture) -> None:
    begun, free = threading.Event(), threading.Event()

    @app.get("/listen/<name>")
    def listen(name: str) -> str:
        begun.set()
        free.wait(20)
        return ""

    headers = [(b"host", b"example.test"), (b"authorization", b"Bearer secret")]
    call = Call(asgi(app, grace_s=0.1), "/listen/a?token=secret", headers=headers).body()
    try:
        await until(begun.is_set)
        call.leave()
        await asyncio.wait({call.task}, timeout=10)
        await until(lambda: "did not stop within" in caplog.text)
    finally:
        free.set()
    assert "the view 'listen' (GET '/listen/a')" in caplog.text
    assert "secret" not in caplog.text
