"""How far an import is, told to its owner's pages as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio

from app.imports import running
from decant import Quart

from ..conftest import AMPLE_S
from ..test_live import connect, cookie_of, on_a_socket
from .conftest import file_of, number_of, run, upload

SITE = "https://example.com/"


@asynccontextmanager
async def watching(url: str, person: Any, import_id: Any) -> AsyncIterator[tuple[Any, asyncio.Queue[Any]]]:
    """A page of an import: what it was answered, and what it is told."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(reconnection=False, http_session=http)
        client.on("import", told.put_nowait)
        await connect(client, url, cookie_of(person))
        try:
            yield await client.call("watch_import", import_id, timeout=AMPLE_S), told
        finally:
            await client.disconnect()


async def test_each_batch_is_told(make: Any, person: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a page of another process, from the process that does the job: counts that rise, and the end."""
    monkeypatch.setattr(running, "BATCH_ROWS", 4)
    one, other = await make(), await make()
    ada = person()
    ada.client = one.test_client()
    await ada.register("ada")
    rows = [(f"{SITE}{n}" if n != 5 else "nowhere", "") for n in range(10)]
    import_id = await number_of(await upload(ada, file_of(*rows, header="target,slug")))
    async with on_a_socket(other) as url, watching(url, ada, import_id) as (now, told):
        assert now == {"id": import_id, "state": "waiting", "total": None, "done": 0, "made": 0, "refused": 0}
        await run(one, import_id)
        news: list[dict[str, Any]] = []
        async with asyncio.timeout(AMPLE_S):
            while not news or news[-1]["state"] != "done":
                news.append(await told.get())
    assert [one["done"] for one in news] == [0, 4, 8, 10, 10]
    assert news[-1] == {"id": import_id, "state": "done", "total": 10, "done": 10, "made": 9, "refused": 1}


async def test_only_the_owner_is_told(app: Quart, ada: Any, person: Any) -> None:
    """Somebody else may ask, for this or for what is no number, and is told nothing."""
    import_id = await number_of(await upload(ada, file_of((SITE, ""), header="target,slug")))
    eve = person()
    await eve.register("eve")
    async with on_a_socket(app) as url:
        for asked in (import_id, str(import_id), True, None, 2**63, -1, [import_id]):
            async with watching(url, eve, asked) as (now, told):
                assert now is None
                if asked == import_id and asked is not True:
                    async with watching(url, ada, import_id) as (_, hers):
                        await run(app, import_id)
                        async with asyncio.timeout(AMPLE_S):
                            while (await hers.get())["state"] != "done":
                                pass
                    assert told.empty()
