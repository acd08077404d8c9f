"""Cancellation and time limits that arrive while synchronous code waits on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from decant.bridge import bridged, wait

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def forever() -> None:
    """Synchronous code that waits for what never comes."""
    wait(asyncio.get_running_loop().create_future())


async def waits_forever() -> None:
    forever()


def test_cancellation_arrives_once_and_runs_every_finally_block(run: Run) -> None:
    """From the innermost to the outermost; clean-up may wait; the task ends as cancelled."""
    seen: list[str] = []

    def helper() -> None:
        try:
            forever()
        except asyncio.CancelledError:
            seen.append("helper")
            raise
        finally:
            wait(asyncio.sleep(0.001))
            seen.append("helper cleaned up")

    async def inside() -> None:
        try:
            helper()
        finally:
            await asyncio.sleep(0)
            seen.append("coroutine cleaned up")

    async def main() -> None:
        task = asyncio.create_task(bridged(inside()))
        await asyncio.sleep(0)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("enough",)
        assert task.cancelled()
        assert task.cancelling() == 1

    run(main())
    assert seen == ["helper", "helper cleaned up", "coroutine cleaned up"]


def test_a_task_cancelled_before_its_first_step_never_runs(run: Run) -> None:
    """And Python has no coroutine to warn of."""
    seen: list[str] = []

    async def inside() -> None:
        seen.append("ran")

    async def main() -> None:
        task = asyncio.create_task(bridged(inside()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == []


def test_code_that_handles_its_cancellation_goes_on(run: Run) -> None:
    """As with await, uncancel() and going on is the code's own decision; the next wait works."""

    async def inside() -> str:
        try:
            forever()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        return wait(asyncio.sleep(0, "went on"))

    async def main() -> str:
        task = asyncio.create_task(bridged(inside()))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert run(main()) == "went on"


def test_a_timeout_outside_ends_a_wait_inside(run: Run) -> None:
    """asyncio.timeout() around the bridge."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bridged(waits_forever())
        assert await bridged(asyncio.sleep(0, "usable")) == "usable"

    run(main())


def test_a_timeout_inside_ends_a_wait_inside_it(run: Run) -> None:
    """asyncio.timeout() in bridged code, around a synchronous call that waits, and in the awaitable itself."""

    async def limited() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()

    async def inside() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                forever()
        with pytest.raises(TimeoutError):
            wait(limited())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return wait(asyncio.sleep(0, "usable"))

    assert run(bridged(inside())) == "usable"


def test_wait_for_works_on_both_sides(run: Run) -> None:
    """wait_for() around the bridge, and waited for by synchronous code."""

    async def inside() -> str:
        with pytest.raises(TimeoutError):
            wait(asyncio.wait_for(bridged(waits_forever()), 0.01))
        return wait(asyncio.wait_for(asyncio.sleep(0, "in time"), 60))

    async def main() -> str:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bridged(waits_forever()), 0.01)
        return await bridged(inside())

    assert run(main()) == "in time"


def test_gather_inside_a_wait(run: Run) -> None:
    """Its children run at the same time; the failure of one is raised by wait()."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("child")

    async def inside() -> list[int]:
        async def both() -> list[int]:
            return await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.sleep(0.01, 2))

        async def failing() -> None:
            await asyncio.gather(fail(), asyncio.sleep(0.01))

        with pytest.raises(KeyError, match="child"):
            wait(failing())
        return wait(both())

    assert run(bridged(inside())) == [1, 2]


def test_a_task_group_cancels_a_parent_that_waits(run: Run) -> None:
    """A child fails while its parent's synchronous code waits: the wait ends, the group raises the child's error."""
    seen: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise KeyError("child")

    async def inside() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            try:
                forever()
            finally:
                seen.append("parent")

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await bridged(inside())
        assert caught.group_contains(KeyError, match="child")

    run(main())
    assert seen == ["parent"]


def test_a_task_group_cancels_bridged_children(run: Run) -> None:
    """When one child fails, those that wait are cancelled."""
    seen: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise KeyError("child")

    async def child() -> None:
        try:
            forever()
        finally:
            seen.append("child")

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(bridged(child()))
                group.create_task(fail())

    run(main())
    assert seen == ["child"] * 3


def test_a_loop_that_ends_cancels_what_waits(run: Run, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """asyncio.run() returns with a bridged task still waiting: its clean-up runs."""
    seen: list[str] = []

    async def child() -> None:
        try:
            forever()
        finally:
            wait(asyncio.sleep(0))
            seen.append("cleaned up")

    async def main() -> None:
        child_task.append(asyncio.create_task(bridged(child())))
        await asyncio.sleep(0)

    child_task: list[asyncio.Task[None]] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert seen == ["cleaned up"]
    assert child_task[0].cancelled()


def test_keyboard_interrupt_and_system_exit_are_handed_on(run: Run) -> None:
    """They leave through the wait and through the loop."""

    async def leave(error: BaseException) -> None:
        raise error

    async def inside() -> None:
        wait(leave(SystemExit(3)))

    with pytest.raises(SystemExit) as caught:
        run(bridged(inside()))
    assert caught.value.code == 3
