"""On the event loop: futures are awaited, cancelled with who awaits them, and never block."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest
import quart

from decant.bridge import bridged, in_thread

from .conftest import Site


@pytest.fixture
def one(make_site: Callable[..., Site]) -> Site:
    """An executor with one thread."""
    return make_site("decant", EXECUTOR_MAX_WORKERS=1)


class Gate:
    """A job that says that it runs, and runs until it is told to end."""

    def __init__(self) -> None:
        self.began, self.end = asyncio.Event(), threading.Event()
        self.loop = asyncio.get_running_loop()

    def __call__(self) -> str:
        self.loop.call_soon_threadsafe(self.began.set)
        assert self.end.wait(60)
        return "ended"


async def test_futures_are_awaited_as_often_as_one_likes(one: Site) -> None:
    """Alone, in gather, with a deadline, by several tasks, and through asyncio.wrap_future."""
    future = one.executor.submit(lambda: 5)
    assert await asyncio.gather(future, future) == [5, 5]
    assert await future == 5
    assert future.result() == 5, "done: it does not block"
    assert await asyncio.wait_for(one.executor.submit(lambda: 6), 60) == 6
    assert await asyncio.wrap_future(one.executor.submit(lambda: 7)) == 7
    assert await asyncio.get_running_loop().run_in_executor(one.executor, lambda: 8) == 8


async def test_an_awaited_error_is_the_jobs_own(one: Site) -> None:
    """With the traceback into the job."""
    with pytest.raises(ZeroDivisionError) as caught:
        await one.executor.submit(lambda: 1 // 0)
    assert caught.traceback[-1].name == "<lambda>"


async def test_the_loop_goes_on_while_a_job_runs(one: Site) -> None:
    """The job waits for something that only the loop can do meanwhile."""
    gate = Gate()
    future = one.executor.submit(gate)
    await gate.began.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(_awaited(future))), 0.01)
    assert future.running()
    gate.end.set()
    assert await future == "ended"


async def _awaited(future: Any) -> Any:
    return await future


async def test_result_never_blocks_the_loop(one: Site) -> None:
    """It raises and says what to write; below a bridge it waits; in a thread it blocks that thread only."""

    async def outside() -> None:
        gate = Gate()
        future = one.executor.submit(gate)
        with pytest.raises(RuntimeError, match="await future"):
            future.result()
        with pytest.raises(RuntimeError, match="await future"):
            future.exception()
        with pytest.raises(RuntimeError, match="drain"):
            one.executor.shutdown()
        gate.end.set()
        await future

    await asyncio.create_task(outside())

    def below() -> Any:
        gate = Gate()
        future = one.executor.submit(gate)
        with pytest.raises(TimeoutError):
            future.result(timeout=0.01)
        gate.end.set()
        return future.result(timeout=60), future.exception()

    async def bridge() -> Any:
        return below()

    assert await bridged(bridge()) == ("ended", None)
    assert await in_thread(lambda: one.executor.submit(lambda: 1).result(60)) == 1


async def test_who_awaits_is_cancelled_and_so_is_what_has_not_started(one: Site) -> None:
    """A running job goes on, and a stored one is kept."""
    gate = Gate()
    running = one.executor.submit(gate)
    await gate.began.wait()
    queued, stored = one.executor.submit(lambda: 1), one.executor.submit_stored("kept", lambda: 2)
    tasks = [asyncio.create_task(_awaited(future)) for future in (running, queued, stored)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 3
    assert (running.cancelled(), queued.cancelled(), stored.cancelled()) == (False, True, False)
    gate.end.set()
    assert (await running, await stored) == ("ended", 2)
    with pytest.raises(CancelledError):
        await queued


async def test_a_future_of_another_loop_is_awaited(make_site: Callable[..., Site], one: Site) -> None:
    """The job runs on the loop that submitted it; whoever has the future may await it."""
    gate = Gate()
    future = one.executor.submit(gate)
    other = in_thread(asyncio.run, _awaited(future))
    task = asyncio.create_task(other)
    await gate.began.wait()
    gate.end.set()
    assert await task == "ended"


async def test_who_gives_up_waiting_leaves_nothing_behind(one: Site) -> None:
    """As views that ask again and again for a long job, each for a moment."""
    gate = Gate()
    future = one.executor.submit(gate)
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await future
    assert (len(future._awaited_by._waiting), len(future._done_callbacks)) == (0, 1)
    gate.end.set()
    assert await future == "ended"


async def test_an_error_that_nobody_asks_for_is_logged(one: Site, caplog: pytest.LogCaptureFixture) -> None:
    """When the future is dropped, with its traceback; one that was seen is not."""

    def forgotten() -> None:
        raise LookupError("lost")

    gc.collect()
    caplog.clear()  # of what earlier tests have left
    assert isinstance(one.executor.submit(forgotten).exception, object)
    with pytest.raises(LookupError):
        await one.executor.submit(forgotten)
    await one.executor.drain(60)
    gc.collect()
    [record] = caplog.records
    assert "forgotten" in record.getMessage()
    assert "nobody asked" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_map_is_iterated_on_the_loop(one: Site) -> None:
    """With async for, in order; left early, it runs no more than it must; its error ends it."""
    assert [value async for value in one.executor.map(lambda n: n * n, range(20))] == [n * n for n in range(20)]
    calls: list[int] = []
    left = threading.Event()

    def call(number: int) -> None:
        calls.append(number)
        assert number == 0 or left.wait(60)

    results = one.executor.map(call, range(1000))
    await anext(results)
    await results.aclose()
    left.set()
    assert [value async for value in results] == []
    await one.executor.submit(lambda: None)
    assert len(calls) < 10
    with pytest.raises(ZeroDivisionError):
        async for _ in one.executor.map(lambda n: 1 // n, [1, 0, 1]):
            pass
    gate = Gate()
    with pytest.raises(TimeoutError):
        async for _ in one.executor.map(lambda _: gate(), [1], timeout=0.01):
            pass
    gate.end.set()


async def test_a_map_that_nobody_iterates_runs_to_its_end(one: Site) -> None:
    """As jobs that are submitted one by one."""
    calls: list[int] = []
    one.executor.map(calls.append, range(100))
    await one.executor.drain(60)
    assert calls == list(range(100))


async def test_a_websocket_submits_jobs(one: Site) -> None:
    """The job has the WebSocket's context and a copy of its g."""
    app = one.app

    @app.websocket("/ws")  # type: ignore[untyped-decorator]
    async def ws() -> None:
        quart.g.value = 3
        await quart.websocket.send(await one.executor.submit(lambda: f"{quart.websocket.path} {quart.g.value}"))

    async with app.test_client().websocket("/ws") as connection:
        assert await connection.receive() == "/ws 3"


async def test_each_job_has_a_session_of_the_database_torn_down(one: Site) -> None:
    """Teardown functions of the application context run when the job ends, with the job's g."""
    torn: list[Any] = []
    one.app.teardown_appcontext(lambda _: torn.append(quart.g.get("who")))

    def job(name: str) -> None:
        quart.g.who = name

    async with one.app.app_context():
        quart.g.who = "outer"
        await asyncio.gather(one.executor.submit(job, "one"), one.executor.submit(job, "two"))
        assert torn == ["one", "two"]
    assert torn == ["one", "two", "outer"]


async def test_jobs_of_many_requests_keep_their_contexts_apart(make_site: Callable[..., Site]) -> None:
    """300 requests at once, each with jobs in threads and on the loop."""
    site = make_site("quart", EXECUTOR_MAX_PENDING=10_000)

    def in_a_thread() -> list[Any]:
        return [quart.request.path, quart.g.number]

    async def on_the_loop() -> list[Any]:
        await asyncio.sleep(0)
        return [quart.request.path, quart.g.number]

    @site.app.get("/many/<int:number>")  # type: ignore[untyped-decorator]
    async def many(number: int) -> list[Any]:
        quart.g.number = number
        return [*(await site.executor.submit(in_a_thread)), *(await site.executor.submit(on_the_loop))]

    client = site.app.test_client()
    answers = await asyncio.gather(*(client.get(f"/many/{number}") for number in range(300)))
    for number, answer in enumerate(answers):
        assert await answer.get_json() == [f"/many/{number}", number, f"/many/{number}", number]
