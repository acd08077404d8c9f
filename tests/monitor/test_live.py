"""What happens is told while it happens, by one reader, to as many as watch; nobody who is slow holds up the others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from decant.monitor import live, pages
from decant.monitor.live import Hub

from ..serving import Peer, serve
from ..valkey import Server, running
from . import sample
from .test_acting import until


class Stream:
    """Server-sent events, read from a socket as a browser does."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def next(self, *names: str) -> Any:
        """The data of the next event that has one of these names."""
        name = ""
        async with asyncio.timeout(20):
            while True:
                line = (await self.peer.reader.readline()).decode()
                assert line, "the stream has ended"
                line = line.rstrip("\r\n")
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and (not names or name in names):
                    return json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def watching(base: str, query: str = "") -> AsyncIterator[Stream]:
    host, _, port = base.removeprefix("http://").rpartition(":")
    async with Peer.connect((host, int(port))) as peer:
        await peer.get(f"/jobs/live{query}")
        assert await peer.status() == 200
        stream = Stream(peer)
        await stream.next("hello")
        yield stream


def hub_of(site: Any) -> Hub:
    monitor = site.app.blueprints["monitor"]
    return monitor._hubs[asyncio.get_running_loop()]  # type: ignore[no-any-return]


async def event(redis_url: str, type_: str, **fields: Any) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.xadd("decant:events", {"type": type_, "time": time.time(), "worker": sample.WORKER, **fields})


@pytest.mark.parity("flower", "auto_refresh")
async def test_who_watches_hears_what_happens(site: Any) -> None:
    await event(site.redis_url, "task-started", id="before", task="app.add")
    async with serve(site.app) as base, watching(base) as one, watching(base) as other:
        await until(lambda: reads_on(site))
        await event(site.redis_url, "task-started", id="a", task="app.add")
        for stream in (one, other):
            data = await stream.next("jobs")
            assert data["number"] == 1
            assert (data["events"][0]["type"], data["events"][0]["id"]) == ("task-started", "a")


async def reads_on(site: Any) -> bool:
    return bool(hub_of(site)._last)


async def test_a_page_of_one_job_hears_of_that_job_only(site: Any) -> None:
    async with serve(site.app) as base, watching(base, "?job=b") as stream:
        await until(lambda: reads_on(site))
        for id_ in ("a", "b", "c"):
            await event(site.redis_url, "task-succeeded", id=id_, task="app.add", runtime=0.5)
        data = await stream.next("jobs")
        assert [entry["id"] for entry in data["events"]] == ["b"]


async def test_what_workers_say_is_told_every_two_seconds(site: Any) -> None:
    await site.fill()
    async with serve(site.app) as base:
        begun = time.monotonic()
        async with watching(base) as stream:
            assert await stream.next("workers") == {"online": 2, "active": 1}
            await stream.next("workers")
            assert 2.0 <= time.monotonic() - begun < 12


async def test_there_is_one_reader_however_many_watch_and_none_when_nobody_does(site: Any) -> None:
    async with serve(site.app) as base:
        async with watching(base), watching(base), watching(base):
            await until(lambda: reads_on(site))
            hub = hub_of(site)
            reader = hub._reader
            assert len(hub.watchers) == 3
            assert reader is not None
            async with Redis.from_url(site.redis_url) as redis:
                blocked = [one for one in await redis.client_list() if one["cmd"] == "xread" and "b" in one["flags"]]
            assert len(blocked) <= 1

        async def left() -> bool:
            return not hub.watchers and reader.done()

        await until(left)
        async with watching(base) as stream:  # and it begins again
            await until(lambda: _runs(hub))
            await event(site.redis_url, "task-started", id="again", task="app.add")
            assert (await stream.next("jobs"))["events"][-1]["id"] == "again"


async def _runs(hub: Hub) -> bool:
    return hub._reader is not None and not hub._reader.done()


async def test_who_does_not_read_is_dropped_and_the_others_are_not(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffer is bounded; its connection is closed, so that its browser begins anew."""
    monkeypatch.setattr(live, "_BUFFER", 4)
    async with serve(site.app) as base, watching(base) as reads, watching(base) as stuck:
        hub = hub_of(site)
        stuck.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        filler = b"event: jobs\ndata: " + json.dumps({"number": 0, "events": [], "x": "x" * 40_000}).encode() + b"\n\n"

        async def is_dropped() -> bool:
            for watcher in list(hub.watchers):
                watcher.put(filler)
            await reads.next("jobs")
            return len(hub.watchers) == 1

        await until(is_dropped, 60)
        assert all(watcher._messages.qsize() <= 5 for watcher in hub.watchers)
        await event(site.redis_url, "task-started", id="still", task="app.add")
        async with asyncio.timeout(20):
            while not (data := await reads.next("jobs"))["number"]:
                continue
        assert data["events"][0]["id"] == "still"


async def test_more_than_the_limit_are_told_to_come_back(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_WATCHERS", 1)
    async with serve(site.app) as base, watching(base):
        answer = await site.client.get("/jobs/live")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "30"


async def test_an_open_page_does_not_hold_up_the_end(site: Any) -> None:
    """The streams end when the server stops to listen, long before its patience does."""
    async with serve(site.app, graceful_timeout=30) as base, watching(base) as stream:
        await until(lambda: reads_on(site))
        ended = time.monotonic()
        waiting = asyncio.create_task(stream.peer.rest())
        await asyncio.sleep(0)
    # `serve` has returned: the server has stopped.
    assert time.monotonic() - ended < 10
    await waiting


async def test_who_may_no_longer_see_is_told_no_more(make_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ends after its time, and whoever asks for more is looked at again."""
    monkeypatch.setattr(pages, "_STREAM_S", 0.0)
    allowed = True
    async with make_site(guard=lambda: allowed) as site, serve(site.app) as base, watching(base) as stream:
        allowed = False
        async with asyncio.timeout(20):
            assert b"retry: 100" in await stream.peer.rest()
        assert (await site.client.get("/jobs/live")).status_code == 403


async def test_the_head_of_a_stream_ends(site: Any) -> None:
    async with asyncio.timeout(20):
        answer = await site.client.head("/jobs/live")
    assert answer.content_type.startswith("text/event-stream")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


async def test_without_redis_that_is_said_and_it_goes_on_when_it_is_back(make_site: Any, valkey: Server) -> None:
    """No reader dies of it."""
    config = {"REDIS_URL": valkey.url, "REDIS_DEADLINE_S": 0.5}
    async with make_site(config) as site, serve(site.app) as base, watching(base) as stream:
        await until(lambda: reads_on(site))
        await asyncio.to_thread(valkey.kill)
        assert (await stream.next("away"))["message"] == "Redis does not answer"
        await asyncio.to_thread(valkey.start)
        await stream.next("workers")
        await event(valkey.url, "task-started", id="back", task="app.add")
        assert (await stream.next("jobs"))["events"][-1]["id"] == "back"


async def test_without_redis_an_open_page_does_not_hold_up_the_end_either(
    make_site: Any, valkey: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long the reader would have waited before it asks again."""
    monkeypatch.setattr(live, "_RETRY_S", (60.0, 60.0))
    caplog.set_level("DEBUG", "decant.monitor")
    config = {"REDIS_URL": valkey.url, "REDIS_DEADLINE_S": 0.5}
    async with make_site(config) as site:
        async with serve(site.app, graceful_timeout=30) as base, watching(base) as stream:
            await until(lambda: reads_on(site))
            await asyncio.to_thread(valkey.kill)
            async with asyncio.timeout(20):
                while "events cannot be read" not in caplog.text:
                    await asyncio.sleep(0.02)
            ended = time.monotonic()
            waiting = asyncio.create_task(stream.peer.rest())
            await asyncio.sleep(0)
        assert time.monotonic() - ended < 10
        await waiting
