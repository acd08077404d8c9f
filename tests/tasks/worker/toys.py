"""A worker over plain arq jobs, without a ledger: what it claims, runs and ends in Redis."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from arq.connections import ArqRedis
from arq.worker import func
from redis.asyncio import BlockingConnectionPool

from decant.tasks.worker.claims import Claims
from decant.tasks.worker.ears import Ears
from decant.tasks.worker.queues import Queues
from decant.tasks.worker.worker import RUN, Worker

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode
WAKE = "toy:wake"


def client(url: str, timeout_s: float = 5.0) -> ArqRedis:
    """arq's, as a worker uses it."""
    pool = BlockingConnectionPool.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, max_connections=50, timeout=timeout_s
    )
    return ArqRedis(pool_or_conn=pool, job_serializer=encode, job_deserializer=decode)


@asynccontextmanager
async def connected(url: str, timeout_s: float = 5.0) -> AsyncIterator[ArqRedis]:
    redis = client(url, timeout_s)
    try:
        yield redis
    finally:
        await redis.aclose(close_connection_pool=True)


async def put(
    redis: ArqRedis, *args: Any, queue: str = "q", due_in_s: float = 0.0, function: str = RUN, wake: bool = True
) -> str:
    """Enqueue as the dispatcher does: one arq job, one score, one wake-up."""
    id_, now_ms = str(uuid.uuid4()), int(time.time() * 1000)
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.set(f"arq:job:{id_}", encode({"t": None, "f": function, "a": args, "k": {}, "et": now_ms}), ex=600)
        pipeline.zadd(queue, {id_: now_ms + int(due_in_s * 1000)})
        if wake:
            pipeline.publish(WAKE, queue)
        await pipeline.execute()
    return id_


@asynccontextmanager
async def working(
    redis: ArqRedis,
    run: Callable[..., Awaitable[Any]],
    *,
    queues: dict[str, int] | None = None,
    worker: str = "w1",
    lease_s: float = 10.0,
    **options: Any,
) -> AsyncIterator[Worker]:
    """A worker that listens, in the test's loop."""
    made = Worker(
        [func(run, name=RUN, keep_result=0), *options.pop("functions", ())],  # type: ignore[arg-type]
        queues=Queues(queues or {"q": 1}),
        worker=worker,
        wake=WAKE,
        lease_s=lease_s,
        redis_pool=redis,
        queue_name="q",
        job_serializer=encode,
        job_deserializer=decode,
        **options,
    )
    ears = Ears(redis, {WAKE: lambda _: made.wake()})
    tasks = [asyncio.create_task(ears.listen(made.wake)), asyncio.create_task(made.main())]
    try:
        async with asyncio.timeout(30):
            await ears.subscribed.wait()
        yield made
    finally:
        made.end()
        for job in list(made.tasks.values()):
            job.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.wait([*tasks, *made.tasks.values()])
        await made.claims.aclose()


async def paused(worker: Worker) -> None:
    """Pause it, and wait until a claim that is under way has ended."""
    worker.paused = True
    worker.wake()
    await until(lambda: not worker._wake.is_set())


async def until(condition: Callable[[], object | Awaitable[object]], timeout_s: float = 10.0) -> None:
    """Wait until it is true; it may be a coroutine function."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = condition()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)


def claims_of(redis: ArqRedis, worker: str) -> Claims:
    return Claims(redis, worker, WAKE)
