"""A server that is killed, frozen, slow to load or full: every command ends in time, none is repeated."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis as Plain
from redis.exceptions import DataError, RedisError

from decant.errors import RedisOutcomeUnknown, RedisUnavailable
from decant.redis import Redis
from tests.valkey import Server

from .conftest import Make

DEADLINE_S = 1.0  # not shorter: on a busy machine a server that works must keep it
SLACK_S = 8.0


async def outcome(awaitable: Awaitable[Any]) -> tuple[Any, float]:
    """The answer or the exception, and the seconds that it took."""
    started = time.monotonic()
    try:
        answer = await awaitable
    except Exception as error:
        answer = error
    return answer, time.monotonic() - started


async def sent() -> None:
    """What was issued has gone out, if a connection is open: nothing on its way there waits for anything."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ready_again(redis: Redis) -> None:
    """Until the breaker lets commands through; only RedisUnavailable in between."""
    async with asyncio.timeout(20):
        while True:
            try:
                await redis.ping()
                return
            except RedisUnavailable:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def proxy(
    server: Server, *, answers: asyncio.Event, requests: list[bytes], slow: bytes = b"\0"
) -> AsyncIterator[str]:
    """A TCP proxy that breaks a connection where an answer comes while ``answers`` is not set; yields its URL.

    A connection that has carried ``slow`` has no answers any more.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)
        slowed = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(65536):
                requests.append(data)
                if slow in data:
                    slowed.set()
                up_writer.write(data)
                await up_writer.drain()

        async def down() -> None:
            while (data := await up_reader.read(65536)) and answers.is_set():
                if slowed.is_set():
                    continue
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            up_writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    finally:
        listener.close()


async def test_killed_in_mid_batch(make: Make, server: Server) -> None:
    """Each command of the batch says that its outcome is unknown; after a restart the same client goes on."""
    redis = make(server.url, deadline_s=30.0, breaker_reset_s=0.1)
    await redis.ping()
    server.freeze()
    commands = [asyncio.create_task(outcome(redis.incr("n"))) for _ in range(100)]
    await sent()  # the server's socket has them
    await asyncio.to_thread(server.kill)
    answers = await asyncio.gather(*commands)
    assert {type(answer) for answer, _ in answers} == {RedisOutcomeUnknown}
    assert max(seconds for _, seconds in answers) < 20
    await asyncio.to_thread(server.start)
    await ready_again(redis)
    assert await redis.incr("n") == 1


async def test_incr_is_not_repeated(make: Make, server: Server) -> None:
    """An INCR whose answer was lost was run once, and its caller knows that it may have been."""
    answers, requests = asyncio.Event(), list[bytes]()
    answers.set()
    async with proxy(server, answers=answers, requests=requests) as url:
        redis, direct = make(url, deadline_s=30.0), make(server.url, deadline_s=30.0)
        await redis.ping()
        answers.clear()
        lost = await asyncio.gather(*(outcome(redis.incr("n")) for _ in range(10)))
        assert {type(answer) for answer, _ in lost} == {RedisOutcomeUnknown}
        answers.set()
        assert await direct.get("n") == b"10"
        assert await redis.incr("n") == 11
        assert b"".join(requests).count(b"INCR") == 11


async def test_a_transaction_is_not_repeated(make: Make, server: Server) -> None:
    """redis-py's transaction() would run again after a connection lost at EXEC; ours says that it is unknown."""
    answers, requests = asyncio.Event(), list[bytes]()
    answers.set()
    async with proxy(server, answers=answers, requests=requests) as url:
        redis, direct = make(url, deadline_s=30.0), make(server.url, deadline_s=30.0)

        async def increment(pipe: Any) -> None:
            await pipe.get("n")
            pipe.multi()
            pipe.incr("n")
            answers.clear()

        with pytest.raises(RedisOutcomeUnknown):
            await redis.transaction(increment, "n")
        assert await direct.get("n") == b"1"


async def test_a_cancelled_waiter_of_a_batch_under_way(make: Make, server: Server) -> None:
    """Cancelling one caller after its batch was sent neither stops nor shifts the others' answers."""
    redis = make(server.url, deadline_s=30.0)
    await redis.ping()
    server.freeze()
    commands = [asyncio.create_task(redis.incr("n")) for _ in range(20)]
    await sent()
    commands[7].cancel()
    await asyncio.wait([commands[7]])
    server.thaw()
    answers = await asyncio.gather(*commands, return_exceptions=True)
    assert isinstance(answers.pop(7), asyncio.CancelledError)
    assert answers == [*range(1, 8), *range(9, 21)]


async def test_a_frozen_server(make: Make, server: Server) -> None:
    """Each of 1,000 commands ends within its deadline, also those that wait for a connection."""
    redis = make(server.url, deadline_s=DEADLINE_S, pool_size=2, breaker_failures=1000)
    await redis.ping()
    server.freeze()
    answers = await asyncio.gather(*(outcome(redis.incr("n")) for _ in range(1000)))
    assert all(isinstance(answer, RedisUnavailable) for answer, _ in answers)
    unknown = [answer for answer, _ in answers if isinstance(answer, RedisOutcomeUnknown)]
    assert len(unknown) == 100  # one connection was open; the other could not be opened
    assert all("busy" in str(answer) for answer, _ in answers[-100:])
    assert max(seconds for _, seconds in answers) < DEADLINE_S + SLACK_S
    assert redis.pending == 0
    server.thaw()
    await ready_again(redis)


async def test_a_deadline_abandons_only_its_own(make: Make, server: Server) -> None:
    """Of two commands that share a batch, the later is answered after the earlier one's deadline."""
    redis = make(server.url, deadline_s=2.0, pool_size=1)
    await redis.ping()
    server.freeze()
    first = asyncio.create_task(outcome(redis.incr("first")))
    await sent()
    early = asyncio.create_task(outcome(redis.incr("early")))  # these wait for the connection
    await asyncio.sleep(1.7)
    late = asyncio.create_task(outcome(redis.incr("late")))
    assert isinstance((await first)[0], RedisOutcomeUnknown)
    assert isinstance((await early)[0], RedisUnavailable)
    server.thaw()
    assert (await late)[0] == 1
    assert await redis.get("early") is None, "given up before it was sent, so never sent"


async def test_a_frozen_server_and_what_goes_around(make: Make, server: Server) -> None:
    """Blocking commands, transactions and subscriptions end in their own time: the server's, plus the deadline."""
    redis = make(server.url, deadline_s=DEADLINE_S, breaker_failures=1000)
    await asyncio.gather(redis.blpop(["list"], timeout=0.01), redis.blpop(["list"], timeout=0.01))
    server.freeze()
    watched = redis.pipeline(transaction=True)
    answers = await asyncio.gather(
        outcome(redis.blpop(["list"], timeout=0.2)),
        outcome(redis.pipeline(transaction=True).incr("n").execute()),
        outcome(watched.watch("n")),
        outcome(redis.pubsub().subscribe("news")),
    )
    assert [type(answer) for answer, _ in answers] == [RedisOutcomeUnknown] * 3 + [RedisUnavailable]
    assert max(seconds for _, seconds in answers) < 0.2 + 2 * DEADLINE_S + SLACK_S
    server.thaw()
    await ready_again(redis)
    assert await redis.pipeline(transaction=True).incr("n").execute() >= [1]
    await watched.aclose()


async def test_a_restart_between_two_commands(make: Make, server: Server) -> None:
    """Idle connections that the server closed are replaced: after a pause the first command succeeds."""
    redis = make(server.url, deadline_s=20.0)
    await asyncio.gather(*(redis.ping() for _ in range(500)))
    await asyncio.to_thread(server.restart)
    for _ in range(20):
        assert await redis.ping()
    await asyncio.gather(*(redis.ping() for _ in range(500)))


async def test_the_breaker(make: Make, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens after failures in a row, refuses at once, lets one command probe, and closes when that is answered."""
    redis = make(server.url, deadline_s=30.0, breaker_failures=3, breaker_reset_s=60.0)
    now = [0.0]
    monkeypatch.setattr(redis.lane().breaker, "_clock", lambda: now[0])
    await redis.ping()
    await asyncio.to_thread(server.kill)
    for _ in range(3):
        assert redis.available
        with pytest.raises(RedisUnavailable):
            await redis.ping()
    assert redis.degraded
    with pytest.raises(RedisUnavailable, match="3 times in a row") as refused:
        redis.lane().check()  # at once: there is nothing to wait for
    assert refused.value.retry_after_s == 60
    assert str((await outcome(redis.ping()))[0]) == str(refused.value)
    await asyncio.to_thread(server.start)
    now[0] = 60.0
    probes = await asyncio.gather(*(outcome(redis.ping()) for _ in range(50)))
    assert sum(answer is True for answer, _ in probes) == 1, "one probes, the others are refused"
    assert redis.available
    assert await asyncio.gather(*(redis.ping() for _ in range(50))) == [True] * 50


async def test_a_failed_probe_opens_it_again(make: Make, server: Server) -> None:
    """While the server is frozen, few callers pay a deadline: one probe per reset."""
    redis = make(server.url, deadline_s=0.1, breaker_failures=1, breaker_reset_s=0.3)
    await ready_again(redis)
    server.freeze()
    await outcome(redis.ping())
    assert redis.degraded
    paid = 0
    started = time.monotonic()
    while (lasted_s := time.monotonic() - started) < 1.0 or not paid:
        answer, _ = await outcome(redis.ping())
        paid += "in a row" not in str(answer)
        await asyncio.sleep(0.005)
    assert paid < lasted_s / 0.3 + 0.5
    server.thaw()
    await ready_again(redis)


async def test_a_slow_command_does_not_open_it(make: Make, server: Server) -> None:
    """What exceeds its deadline while the server answers others is that command's fault."""
    answers, requests = asyncio.Event(), list[bytes]()
    answers.set()
    async with proxy(server, answers=answers, requests=requests, slow=b"SLOW") as url:
        redis = make(url, deadline_s=1.5, breaker_failures=1)
        await ready_again(redis)
        slow = asyncio.create_task(outcome(redis.get("SLOW")))
        while not any(b"SLOW" in request for request in requests):
            await asyncio.sleep(0)  # what is issued now is not in its batch
        answered = 0
        while not slow.done():
            await ready_again(redis)
            answered += 1
            await asyncio.sleep(0.05)
        assert isinstance((await slow)[0], RedisOutcomeUnknown)
        assert answered > 1
        assert redis.available


async def test_a_blocking_command_that_gets_nothing_does_not_open_it(make: Make, server: Server) -> None:
    """It waits longer than the deadline, which is none of the server's failures."""
    redis = make(server.url, deadline_s=DEADLINE_S, breaker_failures=1, breaker_reset_s=60.0)
    assert await redis.blpop(["list"], timeout=DEADLINE_S + 0.2) is None
    assert redis.available


async def test_a_loop_that_was_held_up(make: Make, server: Server) -> None:
    """Answers that arrived in time are handed out even if the loop was blocked past the deadline."""
    redis = make(server.url, deadline_s=0.1, breaker_failures=1, breaker_reset_s=0.1)
    await ready_again(redis)
    commands = [asyncio.create_task(redis.incr("n")) for _ in range(10)]
    for _ in range(4):  # not more: they are sent by now, and not yet answered
        await asyncio.sleep(0)
    until_s = time.monotonic() + 0.4
    while time.monotonic() < until_s:  # a view that computes
        pass
    assert await asyncio.gather(*commands) == list(range(1, 11))
    assert redis.available


def load_at_once(server: Server) -> None:
    with Plain(port=server.port) as plain:
        plain.config_set("key-load-delay", 0)


async def test_a_server_that_is_loading(make: Make, server: Server) -> None:
    """LOADING means unavailable, not an error of the command; it works when the data is loaded."""
    filler = make(server.url, deadline_s=30.0)
    for start in range(0, 10_000, 1000):
        await filler.mset({f"key{i}": "x" * 100 for i in range(start, start + 1000)})
    await filler.save()
    await filler.aclose()
    await asyncio.to_thread(server.kill)
    slow = ("--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024")
    await asyncio.to_thread(server.start, *slow, loaded=False)
    redis = make(server.url, deadline_s=20.0, breaker_failures=1, breaker_reset_s=0.1)
    answers = await asyncio.gather(*(outcome(redis.incr("n")) for _ in range(20)))
    assert {type(answer) for answer, _ in answers} == {RedisUnavailable}
    assert "loading" in str(answers[0][0]).lower()
    assert redis.degraded
    await asyncio.to_thread(load_at_once, server)
    async with asyncio.timeout(60):
        while not isinstance((await outcome(redis.incr("n")))[0], int):
            await asyncio.sleep(0.05)
    assert await redis.get("n") == b"1", "none was run while loading"


async def test_a_wrong_password(make: Make, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, without the password, in the exception and in the log."""
    await asyncio.to_thread(server.restart, "--requirepass", "right-password")
    caplog.set_level(logging.DEBUG)
    redis = make(f"redis://:wr0ng-secret@127.0.0.1:{server.port}/0", breaker_failures=1, deadline_s=20.0)
    with pytest.raises(RedisUnavailable, match=r"(?i)password") as caught:
        await redis.ping()
    text = "".join(f"{error!r} {error}" for error in (caught.value, caught.value.__cause__))
    assert "wr0ng-secret" not in text + caplog.text + repr(redis)
    assert f"***@127.0.0.1:{server.port}" in caplog.text
    right = make(f"redis://:right-password@127.0.0.1:{server.port}/0", deadline_s=20.0)
    assert await right.ping()


async def test_a_database_that_does_not_exist(make: Make, server: Server) -> None:
    """What the server refuses while connecting is RedisUnavailable with its words."""
    redis = make(server.url.replace("/0", "/99"), deadline_s=20.0)
    with pytest.raises(RedisUnavailable, match="DB index is out of range"):
        await redis.ping()


async def test_something_that_is_no_redis(make: Make) -> None:
    """A server of another protocol is unavailable, in time."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    redis = make(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}", deadline_s=1.0)
    answers = await asyncio.gather(*(outcome(redis.ping()) for _ in range(20)))
    assert all(isinstance(answer, RedisUnavailable) for answer, _ in answers)
    await redis.aclose()
    listener.close()


async def test_a_subscription_survives_a_restart(make: Make, server: Server) -> None:
    """Losing the connection raises RedisUnavailable; listening again subscribes again."""
    redis = make(server.url, deadline_s=20.0, breaker_reset_s=0.1)
    async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe("news")
        await asyncio.to_thread(server.kill)
        with pytest.raises(RedisUnavailable):
            async with asyncio.timeout(20):
                while True:
                    await subscription.get_message(timeout=1)
        await asyncio.to_thread(server.start)
        await ready_again(redis)

        async def next_message() -> Any:
            while True:
                try:
                    if message := await subscription.get_message(timeout=0.1):
                        return message
                except (RedisUnavailable, RedisError):
                    await asyncio.sleep(0.05)

        listening = asyncio.create_task(next_message())
        async with asyncio.timeout(20):
            while not listening.done():
                await redis.publish("news", "again")
                await asyncio.sleep(0.02)
        assert listening.result()["data"] == b"again"


async def test_closing_answers_what_is_pending(make: Make, server: Server) -> None:
    """aclose() leaves nobody waiting, closes what callers hold, and the next command opens new connections."""
    redis = make(server.url, deadline_s=30.0)
    await redis.ping()
    server.freeze()
    commands = [asyncio.create_task(outcome(redis.incr("n"))) for _ in range(30)]
    await sent()
    late = asyncio.create_task(outcome(redis.incr("n")))
    await asyncio.sleep(0)
    closing = time.monotonic()
    await redis.aclose()
    assert time.monotonic() - closing < SLACK_S
    answers = await asyncio.gather(*commands, late)
    assert all(isinstance(answer, RedisUnavailable) for answer, _ in answers)
    server.thaw()
    assert await redis.ping()


async def test_unix_sockets(make: Make, server: Server) -> None:
    """unix:// works as redis:// does."""
    redis = make(f"unix://{server.folder}/socket?db=0", deadline_s=20.0)
    assert await asyncio.gather(*(redis.incr("n") for _ in range(5))) == [1, 2, 3, 4, 5]
    assert await redis.blpop(["list"], timeout=0.01) is None


async def test_a_command_that_was_not_sent_tells_the_breaker_nothing(make: Make, redis_url: str) -> None:
    """An argument that cannot be encoded is no answer of the server: failures in a row stay in a row."""
    redis = make(redis_url, deadline_s=30.0, breaker_failures=2, breaker_reset_s=60.0)
    await redis.ping()
    redis.lane().failed("connection", "one")
    assert isinstance((await outcome(redis.set("a", object())))[0], DataError)  # type: ignore[arg-type]
    redis.lane().failed("connection", "two")
    assert redis.degraded
