"""The event stream: bounded, batched, and never in the way of a job."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from arq.connections import ArqRedis

from decant.tasks.events import Recorder, encode_event
from tests.tasks.worker.toys import connected, until


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    async with connected(redis_url) as made:
        yield made


async def entries(redis: ArqRedis) -> list[dict[str, str]]:
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in await redis.xrange("events")]


def test_fields_are_text_and_the_rest_is_json() -> None:
    event = {"type": "task-started", "attempt": 1, "wait": 0.5, "gone": None, "ok": True, "queues": {"a": 1}}
    encoded = encode_event(event)
    assert encoded == {"type": "task-started", "attempt": "1", "wait": "0.5", "ok": "true", "queues": '{"a": 1}'}
    assert json.loads(encoded["queues"]) == {"a": 1}


async def test_text_of_all_kinds_comes_through(redis: ArqRedis) -> None:
    recorder = Recorder(redis, "events")
    recorder.start()
    text = 'Ünïcode: \u0000 "quoted"\n😀'
    recorder.record("task-failed", exception=text, time=1795000000.1234567)
    await recorder.aclose()
    [entry] = await entries(redis)
    assert entry["exception"] == text
    recorder.start()
    recorder.record("task-failed", exception="half \ud83d of one")
    await recorder.aclose()
    assert (await entries(redis))[1]["exception"] == "half ? of one"
    assert float(entry["time"]) == 1795000000.1234567


async def test_what_is_recorded_comes_into_the_stream_soon(redis: ArqRedis) -> None:
    recorder = Recorder(redis, "events", "w1")
    recorder.start()
    recorder.record("task-started", id="1", task="app.add")
    recorder.record("task-succeeded", id="1", task="app.add", runtime=0.25)

    async def both() -> bool:
        return await redis.xlen("events") == 2

    await until(both)
    first, second = await entries(redis)
    assert (first["type"], first["worker"], first["task"]) == ("task-started", "w1", "app.add")
    assert second["runtime"] == "0.25"
    await recorder.aclose()


async def test_the_last_ones_are_written_at_the_end(redis: ArqRedis) -> None:
    recorder = Recorder(redis, "events")
    recorder.start()
    for number in range(1200):
        recorder.record("task-sent", id=str(number))
    await recorder.aclose()
    assert [entry["id"] for entry in await entries(redis)] == [str(number) for number in range(1200)]


async def test_the_stream_is_bounded(redis: ArqRedis) -> None:
    recorder = Recorder(redis, "events", keeps=100)
    recorder.start()
    for number in range(2000):
        recorder.record("task-sent", id=str(number))
    await recorder.aclose()
    assert await redis.xlen("events") < 300  # about: in whole blocks of the stream


async def test_while_redis_is_away_the_oldest_are_dropped_and_counted(redis: ArqRedis) -> None:
    recorder = Recorder(redis, "events")  # not started: nothing is written
    for number in range(10_050):
        recorder.record("task-sent", id=str(number))
    assert recorder.dropped == 50
    recorder.start()
    await recorder.aclose()
    assert (await entries(redis))[0]["id"] == "50"


async def test_a_refusing_redis_is_tried_again(redis: ArqRedis) -> None:
    await redis.set("events", "no stream")
    recorder = Recorder(redis, "events")
    recorder.start()
    recorder.record("task-sent", id="1")
    await asyncio.sleep(0.2)
    await redis.delete("events")

    async def written() -> bool:
        return await redis.xlen("events") == 1

    await until(written, 30.0)
    await recorder.aclose()


async def test_listeners_hear_at_once_and_may_fail(redis: ArqRedis, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[dict[str, Any]] = []
    recorder = Recorder(redis, "events", "w1", sends=False)
    recorder.listen(lambda event: 1 / 0)  # type: ignore[arg-type, return-value]
    recorder.listen(heard.append)
    with caplog.at_level(logging.ERROR):
        recorder.record("task-started", id="1")
    assert [event["type"] for event in heard] == ["task-started"]
    assert "ZeroDivisionError" in caplog.text
    recorder.start()
    await recorder.aclose()
    assert await redis.exists("events") == 0
