"""The snippets of docs/socketio.md do what the page says."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import decant.testing
from decant.quart import Quart
from decant.socketio import SocketIO

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def chat() -> Iterator[ModuleType]:
    assert decant.testing.Client  # imported now: that reads files
    module = sys.modules["socketio_chat"] = load("socketio_chat")
    yield module
    del sys.modules["socketio_chat"]


@pytest.fixture
def chats_test(chat: ModuleType) -> ModuleType:
    return load("socketio_test_chat")


@pytest.fixture
def others() -> dict[str, ModuleType]:
    return {name: load(name) for name in ("socketio_script", "socketio_flask")}


async def test_the_chat_s_own_test(chats_test: ModuleType) -> None:
    await chats_test.test_who_is_in_a_room_hears_what_is_said()


async def test_the_chat(chat: ModuleType) -> None:
    """Refusals, errors, a view and a task that emit, and the class."""
    client = await chat.socketio.test_client(chat.app)
    assert not (await chat.socketio.test_client(chat.app, auth={"token": "expired"})).is_connected()
    assert await client.emit("say", "without a room", callback=True) == {"error": "KeyError"}
    assert await (await chat.app.test_client().post("/announce")).get_json() == {"announced": True}
    await client.emit("count down", 2)
    seen: list[Any] = []
    async with asyncio.timeout(30):
        while len(seen) < 3:
            seen += [event["args"][0] for event in client.get_received()]
            await asyncio.sleep(0.01)
    assert seen[1:] == [2, 1]
    assert not (await chat.socketio.test_client(chat.app, namespace="/admin")).is_connected("/admin")
    admin = await chat.socketio.test_client(chat.app, namespace="/admin", auth={"token": "t"})
    sid = chat.socketio.server.manager.sid_from_eio_sid(client.eio_sid, "/")
    assert await admin.emit("kick", sid, callback=True, namespace="/admin") == "kicked"
    assert not client.is_connected()
    assert (await admin.emit("kick", callback=True, namespace="/admin")).startswith("failed: ")


async def test_a_script_and_a_flask_application_emit(others: dict[str, ModuleType], redis_url: str) -> None:
    channel = f"test-{uuid.uuid4().hex}"
    app = Quart("docs", root_path="/", instance_path="/instance")
    app.config.update(REDIS_URL=redis_url, SOCKETIO_CHANNEL=channel, SOCKETIO_TRANSPORTS=["websocket"])
    socketio = SocketIO(app)

    def order() -> Any:
        flask_app = others["socketio_flask"].create_app(redis_url, channel)
        return flask_app.test_client().post("/orders").json

    async with app.test_app():
        client = await socketio.test_client(app)
        async with asyncio.timeout(60):
            while True:
                try:
                    await socketio.server.manager.check()
                    break
                except Exception:
                    await asyncio.sleep(0.02)
            await others["socketio_script"].main(redis_url, channel)
            assert await asyncio.to_thread(order) == {"ok": True}
            seen: list[Any] = []
            while len(seen) < 2:
                seen += client.get_received()
                await asyncio.sleep(0.01)
    assert [(event["name"], event["args"]) for event in seen] == [
        ("news", [{"text": "the import is done"}]),
        ("ordered", [{"by": "Flask"}]),
    ]
