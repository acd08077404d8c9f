"""Limits: the function is told or stopped wherever it is, and what is around it stays intact."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from decant import wait
from decant.bridge import Threads, bridged
from decant.tasks.errors import SoftTimeLimitExceeded
from decant.tasks.running.limits import Limits, SoftThread, Stopped, Stopper, TimeLimits


async def run(stopper: Stopper, function: Callable[[], Awaitable[Any]]) -> Any:
    """As a job does: in a task of its own, in a bridge, and something after the function."""
    after: list[str] = []

    async def steps() -> Any:
        try:
            return await stopper.limited(function())
        finally:
            await asyncio.sleep(0.01)
            after.append("ran to its end")

    try:
        return await asyncio.create_task(stopper.run(bridged(steps())))
    finally:
        assert after


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    pool = Threads(2, grace_s=0.3)
    yield pool
    pool.close()


async def test_what_ends_in_time_is_left_alone() -> None:
    async def function() -> str:
        await asyncio.sleep(0.01)
        return "done"

    assert await run(Stopper(Limits(1, 2)), function) == "done"
    assert await run(Stopper(), function) == "done"


async def test_a_soft_limit_may_be_caught_and_the_function_goes_on() -> None:
    said: list[Any] = []

    async def function() -> str:
        try:
            await asyncio.sleep(30)
        except SoftTimeLimitExceeded as error:
            said.append(error.args)
            assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
            await asyncio.sleep(0.05)
            return "tidied up"
        return "to the end"

    assert await run(Stopper(Limits(0.05)), function) == "tidied up"
    assert said == [(0.05,)]


async def test_a_soft_limit_that_is_not_caught_comes_out_as_celerys() -> None:
    async def function() -> None:
        await asyncio.sleep(30)

    with pytest.raises(SoftTimeLimitExceeded) as caught:
        await run(Stopper(Limits(0.05)), function)
    assert not isinstance(caught.value, asyncio.CancelledError)


async def test_a_soft_limit_reaches_synchronous_code_that_waits_on_the_loop() -> None:
    async def function() -> str:
        try:
            wait(asyncio.sleep(30))
        except SoftTimeLimitExceeded:
            wait(asyncio.sleep(0.01))
            return "tidied up"
        return "to the end"

    assert await run(Stopper(Limits(0.05)), function) == "tidied up"


async def test_a_soft_limit_ends_the_tasks_of_a_group() -> None:
    """Also while the group waits for them: none is left behind. A timeout around it stays one."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(name)

    async def function() -> str:
        try:
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                group.create_task(child("b"))
        except SoftTimeLimitExceeded:
            pass
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(30)
        except TimeoutError:
            return "timed out as it should"
        return "to the end"

    assert await run(Stopper(Limits(0.05)), function) == "timed out as it should"
    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize("how", ["gather", "wait_for"])
async def test_a_soft_limit_ends_what_is_gathered(how: str) -> None:
    ended = asyncio.Event()

    async def child() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    async def function() -> None:
        await (asyncio.gather(child(), asyncio.sleep(30)) if how == "gather" else asyncio.wait_for(child(), 30))

    with pytest.raises(SoftTimeLimitExceeded):
        await run(Stopper(Limits(0.05)), function)
    await asyncio.wait_for(ended.wait(), 20)


async def test_a_hard_limit_cancels() -> None:
    seen: list[str] = []

    async def function() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(Stopped) as caught:
        await run(Stopper(Limits(None, 0.05)), function)
    assert caught.value.reason == "hard"
    assert seen == ["cancelled"]


async def test_a_function_that_swallows_its_cancellation_is_cancelled_again() -> None:
    started, swallowed = time.monotonic(), []

    async def function() -> str:
        for _ in range(3):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                swallowed.append(time.monotonic() - started)
                if len(swallowed) == 2:
                    return "a value"
        return "to the end"

    with pytest.raises(Stopped):
        await run(Stopper(Limits(None, 0.05)), function)
    assert len(swallowed) == 2


async def test_after_a_soft_limit_that_was_caught_comes_the_hard_one() -> None:
    async def function() -> None:
        try:
            await asyncio.sleep(30)
        except SoftTimeLimitExceeded:
            await asyncio.sleep(30)

    with pytest.raises(Stopped) as caught:
        await run(Stopper(Limits(0.05, 0.15)), function)
    assert caught.value.reason == "hard"


async def test_the_first_reason_to_stop_stands_and_counts_before_the_beginning() -> None:
    stopper, begun = Stopper(), []

    async def function() -> None:
        begun.append(True)

    stopper.stop("revoked")
    stopper.stop("hard")
    with pytest.raises(Stopped) as caught:
        await run(stopper, function)
    assert caught.value.reason == "revoked"
    assert not begun


async def test_what_is_stopped_at_its_very_end_has_ended_well() -> None:
    """And nothing after it is hit."""
    stopper = Stopper(Limits(0.1, 0.1))

    async def function() -> str:
        await asyncio.sleep(0)
        stopper.soften()
        stopper.stop("revoked")
        return "done"

    assert await run(stopper, function) == "done"


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def function() -> None:
        await asyncio.sleep(30)

    task = asyncio.create_task(run(Stopper(Limits(10, 20)), function))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_soft_limit_reaches_a_thread_where_it_waits(threads: Threads) -> None:
    soft, waiting = SoftThread(0.05), threading.Event()

    def function() -> str:
        try:
            waiting.set()
            wait(asyncio.sleep(30))
        except SoftTimeLimitExceeded:
            wait(asyncio.sleep(0.01))
            return "tidied up"
        return "to the end"

    stopper = Stopper(Limits(0.05, 20))
    assert await run_in(threads, stopper, soft, function) == "tidied up"


async def run_in(
    threads: Threads, stopper: Stopper, soft: SoftThread, function: Callable[[], Any], *, timed: bool = True
) -> Any:
    async def steps() -> Any:
        return await stopper.limited(threads.run(soft.call, function), soft.fire, timed=timed)

    return await asyncio.create_task(stopper.run(bridged(steps())))


async def test_a_soft_limit_reaches_a_thread_when_it_waits_next(threads: Threads) -> None:
    soft, go_on = SoftThread(0.05), threading.Event()

    def function() -> str:
        go_on.wait(10)
        try:
            wait(asyncio.sleep(30))
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "to the end"

    asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert await run_in(threads, Stopper(Limits(0.05, 20)), soft, function) == "tidied up"


async def test_context_variables_of_a_thread_with_a_soft_limit_are_the_jobs(threads: Threads) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable")
    variable.set("outside")

    async def inner() -> str:
        return variable.get()

    def function() -> tuple[str, str]:
        before = wait(inner())
        variable.set("inside")
        return before, wait(inner())

    assert await run_in(threads, Stopper(Limits(5)), SoftThread(5), function) == ("outside", "inside")


async def test_a_hard_limit_stops_a_thread_at_its_wait_and_abandons_one_that_never_waits(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit counts from when the thread has begun: one that has not yet would never be called."""
    ended, go_on, loop = threading.Event(), threading.Event(), asyncio.get_running_loop()

    def waits() -> None:
        loop.call_soon_threadsafe(stopper.start_timers)
        try:
            wait(asyncio.sleep(30))
        finally:
            ended.set()

    def never_waits() -> bool:
        loop.call_soon_threadsafe(stopper.start_timers)
        return go_on.wait(60)

    stopper = Stopper(Limits(None, 0.05))
    with pytest.raises(Stopped):
        await run_in(threads, stopper, SoftThread(), waits, timed=False)
    assert ended.is_set()
    stopper = Stopper(Limits(None, 0.05))
    started = time.monotonic()
    try:
        with pytest.raises(Stopped):
            await run_in(threads, stopper, SoftThread(), never_waits, timed=False)
        assert time.monotonic() - started < 30
    finally:
        go_on.set()
    assert "did not stop" in caplog.text


def test_limits_are_the_calls_then_the_tasks_unless_set_at_run_time() -> None:
    limits = TimeLimits()
    assert limits.of("t", (None, None), (3, None), (1, 9)) == Limits(3, 9)
    limits.set("t", 2, None)
    assert limits.of("t", (5, 6)) == Limits(2, None)
    limits.set("t")
    assert limits.of("t", (5, 6)) == Limits(5, 6)
    assert limits.of("u") == Limits(None, None)
