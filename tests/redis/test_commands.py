"""Commands share round trips and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import DataError, ResponseError, WatchError

from decant.bridge import in_thread, wait
from decant.errors import Overloaded, RedisUnavailable
from decant.redis import Redis
from tests.valkey import Server

from .conftest import Make


def round_trips() -> float:
    name = "decant_redis_batches_total"
    [metric] = REGISTRY.restricted_registry([name]).collect()
    return float(metric.samples[0].value)


async def calls(redis: Redis, command: str) -> int:
    """How often the server has run a command."""
    stats: dict[str, Any] = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_commands_of_one_tick_share_a_round_trip(redis: Redis) -> None:
    """What is issued at once goes out at once, in order, and each gets its own answer."""
    before = round_trips()
    assert await asyncio.gather(*(redis.incr("n") for _ in range(50))) == list(range(1, 51))
    assert round_trips() - before == 1


async def test_a_round_trip_carries_at_most_100(redis: Redis) -> None:
    """250 at once are three round trips."""
    before = round_trips()
    assert sorted(await asyncio.gather(*(redis.incr("n") for _ in range(250)))) == list(range(1, 251))
    assert round_trips() - before == 3


async def test_ten_thousand_at_once(redis: Redis) -> None:
    """Each of 10,000 concurrent GETs has its own key's value; nothing stays pending."""
    await redis.mset({f"k{i}": i for i in range(10_000)})
    values = await asyncio.gather(*(redis.get(f"k{i}") for i in range(10_000)))
    assert values == [b"%d" % i for i in range(10_000)]
    assert redis.pending == 0


async def test_an_error_answers_its_own_command_only(redis: Redis) -> None:
    """One WRONGTYPE among 100 is one caller's error."""
    await redis.set("text", "x")
    answers = await asyncio.gather(
        *(redis.lpush("text", 1) if i == 50 else redis.incr("n") for i in range(100)), return_exceptions=True
    )
    assert isinstance(answers.pop(50), ResponseError)
    assert answers == list(range(1, 100))


async def test_an_argument_that_cannot_be_encoded_fails_alone(redis: Redis) -> None:
    """redis-py's DataError for None reaches its caller; the neighbours are sent."""
    answers = await asyncio.gather(redis.incr("n"), redis.set("k", None), redis.incr("n"), return_exceptions=True)
    assert [answers[0], answers[2]] == [1, 2]
    assert isinstance(answers[1], DataError)


async def test_a_value_that_is_not_text_fails_alone(make: Make, redis_url: str) -> None:
    """With decode_responses, a binary value raises for its reader only."""
    redis = make(redis_url, deadline_s=30.0, decode_responses=True)
    await redis.mset({"text": "é", "binary": b"\xff\x00"})
    answers = await asyncio.gather(redis.get("text"), redis.get("binary"), redis.get("text"), return_exceptions=True)
    assert [answers[0], answers[2]] == ["é", "é"]
    assert isinstance(answers[1], UnicodeDecodeError)


async def test_answers_have_redis_pys_types(make: Make, redis_url: str) -> None:
    """redis-py's response callbacks apply, on bytes and on text."""
    raw, text = make(redis_url, deadline_s=30.0), make(redis_url, deadline_s=30.0, decode_responses=True)
    assert await raw.hset("h", mapping={"a": 1}) == 1
    assert (await raw.hgetall("h"), await text.hgetall("h")) == ({b"a": b"1"}, {"a": "1"})
    await raw.zadd("z", {"m": 1.5})
    assert await text.zrange("z", 0, -1, withscores=True) == [("m", 1.5)]
    assert (await text.config_get("maxclients"))["maxclients"].isdigit()
    assert {key async for key in text.scan_iter()} == {"h", "z"}
    assert await raw.set("k", "v", nx=True, get=True) is None
    assert isinstance(await raw.dump("k"), bytes)
    assert isinstance(await text.dump("k"), bytes)


async def test_what_nobody_waits_for_is_not_sent(redis: Redis) -> None:
    """A command whose caller is cancelled before it was sent is dropped."""
    await redis.ping()
    task = asyncio.create_task(redis.incr("n"))
    while redis.pending == 0:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await redis.get("n") is None


async def test_a_waiters_own_timeout(redis: Redis) -> None:
    """asyncio.timeout around one command is that command's alone."""

    async def impatient() -> object:
        async with asyncio.timeout(0):
            return await redis.incr("n")

    answers = await asyncio.gather(redis.incr("n"), impatient(), redis.incr("n"), return_exceptions=True)
    assert isinstance(answers[1], TimeoutError)
    assert [answers[0], answers[2]] == [1, 2]


async def test_too_many_pending_commands(make: Make, redis_url: str) -> None:
    """What exceeds REDIS_MAX_PENDING is refused at once; the rest is answered, and then there is room again."""
    redis = make(redis_url, deadline_s=30.0, max_pending=30)
    answers = await asyncio.gather(*(redis.incr("n") for _ in range(50)), return_exceptions=True)
    assert answers[:30] == list(range(1, 31))
    assert {type(answer) for answer in answers[30:]} == {Overloaded}
    assert await redis.incr("n") == 31


async def test_scripts_run_by_sha(make: Make, server: Server) -> None:
    """The source travels once; then its SHA does."""
    redis = make(server.url, deadline_s=30.0)
    script = redis.script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
    assert [await script(keys=["k"], args=[1]) for _ in range(3)] == [[b"k", b"1", i] for i in (1, 2, 3)]
    assert (await calls(redis, "eval"), await calls(redis, "evalsha")) == (1, 3)


async def test_only_the_script_that_was_not_run_is_repeated(redis: Redis) -> None:
    """A server that has forgotten a script is told it again; its neighbours in the batch run once."""
    script = redis.register_script("return redis.call('INCR', KEYS[1])")
    await script(keys=["s"])
    await redis.script_flush()
    answers = await asyncio.gather(redis.incr("n"), script(keys=["s"]), redis.incr("n"))
    assert answers == [1, 2, 2]
    assert (await redis.get("n"), await redis.get("s")) == (b"2", b"2")


async def test_a_script_in_a_transaction(redis: Redis) -> None:
    """redis-py's way with scripts in a pipeline goes on working."""
    await redis.script_flush()
    script = redis.script("return redis.call('INCR', KEYS[1])")
    async with redis.pipeline(transaction=True) as pipe:
        await script(keys=["s"], client=pipe)
        pipe.incr("s")
        assert await pipe.execute() == [1, 2]


async def test_a_scripts_error(redis: Redis) -> None:
    """An error in Lua is a ResponseError, and the script is not run a second time."""
    script = redis.script("redis.call('INCR', KEYS[1]); return redis.call('NOSUCH')")
    for runs in (1, 2):
        with pytest.raises(ResponseError, match=r"(?i)unknown"):
            await script(keys=["s"])
        assert int(await redis.get("s")) == runs


async def test_blocking_commands_hold_up_nobody(make: Make, server: Server) -> None:
    """BLPOP and XREAD BLOCK wait longer than the deadline, on connections of their own, while others are answered."""
    redis = make(server.url, deadline_s=1.0, pool_size=1)
    popped = asyncio.create_task(redis.blpop(["list"], timeout=30))
    read = asyncio.create_task(redis.xread({"stream": "$"}, block=30_000))
    moved = asyncio.create_task(redis.blmove("from", "to", 30))
    while (await redis.info("clients"))["blocked_clients"] < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.2)
    assert not any(task.done() for task in (popped, read, moved))
    await asyncio.gather(redis.rpush("list", "a"), redis.xadd("stream", {"f": "v"}), redis.rpush("from", "b"))
    assert await popped == (b"list", b"a")
    [[stream, [(_, fields)]]] = await read
    assert (stream, fields) == (b"stream", {b"f": b"v"})
    assert await moved == b"b"


async def test_a_blocking_commands_own_timeout(redis: Redis) -> None:
    """When it has blocked as long as it was told, it answers None."""
    started = time.monotonic()
    assert await redis.blpop(["list"], timeout=0.1) is None
    assert await redis.xread({"stream": "$"}, block=100) in (None, [])
    assert time.monotonic() - started >= 0.2


async def test_all_dedicated_connections_in_use(make: Make, server: Server) -> None:
    """The caller that gets none is told which setting it is; the server is not blamed, and commands go on."""
    redis = make(server.url, deadline_s=1.5, dedicated_size=1, breaker_failures=1)
    holder = asyncio.create_task(redis.blpop(["list"], timeout=30))
    while not (await redis.info("clients"))["blocked_clients"]:
        await asyncio.sleep(0.01)
    with pytest.raises(RedisUnavailable, match="REDIS_DEDICATED_SIZE"):
        await redis.blpop(["other"], timeout=30)
    assert await redis.ping()
    assert redis.available
    await redis.rpush("list", 1)
    assert await holder == (b"list", b"1")


async def test_a_transaction(redis: Redis) -> None:
    """MULTI/EXEC through an explicit pipeline, and the helper transaction() that repeats on a conflict."""
    async with redis.pipeline(transaction=True) as pipe:
        assert await pipe.set("k", 1).incr("k").execute() == [True, 2]

    async def double(pipe: Any) -> None:
        value = int(await pipe.get("k"))
        pipe.multi()
        pipe.set("k", 2 * value)

    await redis.transaction(double, "k")
    assert await redis.get("k") == b"4"


async def test_a_watched_key_that_changed(redis: Redis) -> None:
    """WATCH notices what another connection wrote: the transaction does not run."""
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch("k")
        await redis.set("k", "other")
        pipe.multi()
        pipe.set("k", "mine")
        with pytest.raises(WatchError):
            await pipe.execute()
    assert await redis.get("k") == b"other"


async def test_an_error_in_a_transaction_names_the_command(redis: Redis) -> None:
    """As redis-py does, with the other commands run."""
    await redis.set("text", "x")
    async with redis.pipeline(transaction=True) as pipe:
        pipe.lpush("text", 1).incr("n")
        with pytest.raises(ResponseError, match="LPUSH text 1"):
            await pipe.execute()
    assert await redis.get("n") == b"1"


async def test_subscriptions(redis: Redis) -> None:
    """Published messages arrive, in order."""
    async with redis.pubsub() as subscription:
        await subscription.subscribe("news")
        assert (await subscription.get_message(timeout=20))["type"] == "subscribe"
        assert await asyncio.gather(*(redis.publish("news", i) for i in range(3))) == [1, 1, 1]
        messages = [await subscription.get_message(timeout=20) for _ in range(3)]
        assert [message["data"] for message in messages] == [b"0", b"1", b"2"]


async def test_a_lock(redis: Redis) -> None:
    """redis-py's lock, whose scripts run through the client."""
    async with redis.lock("lock", timeout=10):
        assert not await redis.lock("lock", timeout=10, blocking=False).acquire()
    assert await redis.lock("lock", timeout=10, blocking=False).acquire()


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (("WATCH", "k"), "pipeline"),
        ((b"multi",), "pipeline"),
        (("SUBSCRIBE", "c"), "pubsub"),
        (("SELECT", 1), "URL"),
        (("CLIENT", "REPLY", "OFF"), "redis-py"),
    ],
)
async def test_commands_that_would_change_a_shared_connection(redis: Redis, command: Any, instead: str) -> None:
    """They are refused, with what to use instead."""
    with pytest.raises(ValueError, match=instead):
        await redis.execute_command(*command)
    assert await redis.ping()


async def test_from_threads(redis: Redis) -> None:
    """``wait(r.get(k))`` works in the threads of in_thread, 40 at once."""

    def increment() -> int:
        return int(wait(redis.incr("n")))

    assert sorted(await asyncio.gather(*(in_thread(increment) for _ in range(40)))) == list(range(1, 41))


def test_without_a_loop(redis_url: str) -> None:
    """In a script ``wait(r.get(k))`` works, twice, on one connection."""
    from decant.redis import client

    redis = client(url=redis_url, deadline_s=30.0)
    ids = [wait(redis.client_id()) for _ in range(2)]
    assert wait(redis.set("k", 1)) is True
    assert wait(redis.get("k")) == b"1"
    assert ids[0] == ids[1]
    wait(redis.aclose())


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    uvloop = pytest.importorskip("uvloop")
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


def test_each_kind_of_loop(runner: asyncio.Runner, redis_url: str) -> None:
    """asyncio's loop and uvloop's: batches, blocking, transactions, subscriptions."""
    from decant.redis import client

    redis = client(url=redis_url, deadline_s=30.0)

    async def work() -> None:
        assert sorted(await asyncio.gather(*(redis.incr("n") for _ in range(300)))) == list(range(1, 301))
        assert await redis.blpop(["list"], timeout=0.01) is None
        async with redis.pipeline() as pipe:
            assert await pipe.incr("n").execute() == [301]
        async with redis.pubsub() as subscription:
            await subscription.subscribe("news")
            assert await subscription.get_message(timeout=20)

    runner.run(work())
    runner.run(redis.flushdb())


def test_loops_leave_no_connections(server: Server) -> None:
    """20 loops that used one client end without closing it: none of their connections remains, none is warned of."""
    import gc

    from redis import Redis as Plain

    from decant.redis import client

    redis = client(url=server.url, deadline_s=30.0)

    async def work() -> None:
        subscription = redis.pubsub()
        await subscription.subscribe("news")
        await asyncio.gather(*(redis.get("k") for _ in range(300)))
        blocked = asyncio.create_task(redis.blpop(["list"], timeout=30))
        await asyncio.sleep(0.01)
        assert not blocked.done()

    with Plain.from_url(server.url) as plain:
        before = len(plain.client_list())
        for _ in range(20):
            asyncio.run(work())
        gc.collect()
        deadline = time.monotonic() + 30
        while len(plain.client_list()) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(plain.client_list()) == before
