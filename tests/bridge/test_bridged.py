"""``bridged`` and ``wait`` on the event loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import warnings
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import greenlet
import pytest

from decant.bridge import Threads, bridged, can_wait, current_threads, in_thread, wait

Run = Callable[[Coroutine[Any, Any, Any]], Any]
variable: ContextVar[str] = ContextVar("variable", default="unset")


class Oops(Exception):
    pass


async def value(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


async def failing() -> None:
    await asyncio.sleep(0)
    raise Oops("from the coroutine")


def doubled(number: int) -> int:
    """A synchronous helper, two calls deep."""

    def deeper() -> int:
        return wait(value(number)) + wait(value(number))

    return deeper()


def test_a_sync_helper_gets_the_value(run: Run) -> None:
    """What the awaitable returns is what wait() returns."""

    async def main() -> int:
        return doubled(21)

    assert run(bridged(main())) == 42


def test_a_sync_helper_gets_the_exception(run: Run) -> None:
    """What the awaitable raises is raised by wait(), with a traceback that leads to it and no context made up."""

    async def main() -> None:
        with pytest.raises(Oops, match="from the coroutine") as caught:
            wait(failing())
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert caught.traceback[-1].name == "failing"

    run(bridged(main()))


def test_an_exception_leaves_the_bridge_as_it_was_raised(run: Run) -> None:
    """bridged() adds nothing to an exception and hides nothing of where it came from."""

    async def main() -> None:
        wait(failing())

    with pytest.raises(Oops) as caught:
        run(bridged(main()))
    assert caught.value.__context__ is None
    assert [entry.name for entry in caught.traceback if entry.name in ("main", "failing")] == ["main", "failing"]


def test_an_exception_during_handling_keeps_its_context(run: Run) -> None:
    """Python's own chaining of exceptions works across a wait."""

    async def main() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            wait(failing())

    with pytest.raises(Oops) as caught:
        run(bridged(main()))
    assert isinstance(caught.value.__context__, KeyError)


def test_every_kind_of_awaitable_can_be_waited_for(run: Run) -> None:
    """Coroutines, futures, tasks and objects with __await__."""

    class Awaitable:
        def __await__(self) -> Any:
            return value("object").__await__()

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        return [wait(value("coroutine")), wait(future), wait(loop.create_task(value("task"))), wait(Awaitable())]

    assert run(bridged(main())) == ["coroutine", "future", "task", "object"]


def test_waiting_for_something_else_is_a_type_error(run: Run) -> None:
    """The text has the value."""

    async def main() -> None:
        with pytest.raises(TypeError, match=r"an awaitable is needed, not int: 42"):
            wait(42)  # type: ignore[arg-type]

    run(bridged(main()))
    with pytest.raises(TypeError, match="an awaitable is needed"):
        run(bridged(42))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an awaitable is needed"):
        wait(42)  # type: ignore[arg-type]


def test_the_loop_goes_on_while_a_sync_helper_waits(run: Run) -> None:
    """Two helpers wait for each other, which only works if neither holds the loop."""

    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()

        async def one() -> None:
            first.set()
            wait(second.wait())

        async def two() -> None:
            wait(first.wait())
            second.set()

        await asyncio.wait_for(asyncio.gather(bridged(one()), bridged(two())), 60)

    run(main())


def test_outside_a_bridge_wait_raises_and_closes_the_coroutine(run: Run) -> None:
    """The text says what to do, and Python has nothing to warn of."""

    async def main() -> None:
        coroutine = value(1)
        assert not can_wait()
        with pytest.raises(RuntimeError, match=r"outside the bridge of the current task.*bridged\(\)"):
            wait(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
        caught.clear()  # of what earlier tests have left
        run(main())
        gc.collect()
    assert caught == []


def test_a_child_task_is_not_bridged_unless_it_says_so(run: Run) -> None:
    """gather() of sync-waiting coroutines raises inside a bridge too; bridged() in the child makes it work."""

    async def child() -> int:
        return doubled(1)

    async def main() -> list[int]:
        with pytest.raises(RuntimeError, match="child tasks"):
            await asyncio.gather(child())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bridged(child())) for _ in range(3)]
        return [task.result() for task in tasks] + await asyncio.gather(bridged(child()), bridged(child()))

    assert run(bridged(main())) == [2, 2, 2, 2, 2]


def test_wait_in_a_callback_of_the_loop_is_refused(run: Run) -> None:
    """A callback belongs to no task, also when a bridged task scheduled it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[object] = loop.create_future()

        def callback() -> None:
            try:
                outcome.set_result(wait(value(1)))
            except RuntimeError as error:
                outcome.set_result(error)

        loop.call_soon(callback)
        assert isinstance(await outcome, RuntimeError)

    run(bridged(main()))


def test_nested_bridges_are_plain_awaits(run: Run) -> None:
    """In a bridge of the same task no second greenlet is made, at any depth, also below a wait."""

    async def deep(level: int) -> set[int]:
        here = id(greenlet.getcurrent())
        if level == 0:
            return {here}
        return {here} | await bridged(deep(level - 1)) | wait(bridged(deep(level - 1)))

    assert len(run(bridged(deep(4)))) == 1


def test_the_task_stays_the_current_one(run: Run) -> None:
    """Inside, below a wait, and afterwards."""

    async def current() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    async def main() -> None:
        task = asyncio.current_task()
        assert await bridged(current()) is task
        assert await bridged(asyncio.wait_for(value(task), 60)) is task

        async def sync_inside() -> object:
            return wait(current())

        assert await bridged(sync_inside()) is task
        assert asyncio.current_task() is task

    run(main())


def test_context_variables_are_the_same_on_both_sides(run: Run) -> None:
    """What is set outside is seen inside, and the other way round; a token of one side is good on the other."""

    async def set_and_reset(token: Any) -> Any:
        assert variable.get() == "helper"
        await asyncio.sleep(0)
        variable.reset(token)
        return variable.set("coroutine")

    async def inside() -> None:
        assert variable.get() == "caller"
        token = variable.set("helper")
        token = wait(set_and_reset(token))
        assert variable.get() == "coroutine"
        variable.reset(token)
        assert variable.get() == "caller"
        variable.set("inside")

    async def main() -> None:
        variable.set("caller")
        await bridged(inside())
        assert variable.get() == "inside"

    run(main())


def test_tasks_do_not_see_each_others_variables(run: Run) -> None:
    """A hundred bridged tasks that take turns keep their own values."""

    async def keeps(name: str) -> bool:
        variable.set(name)
        seen = []
        for _ in range(5):
            wait(asyncio.sleep(0))
            seen.append(variable.get())
        return seen == [name] * 5

    async def main() -> list[bool]:
        return await asyncio.gather(*(bridged(keeps(str(number))) for number in range(100)))

    assert all(run(main()))


def test_the_handled_exception_does_not_leak_between_tasks(run: Run) -> None:
    """sys.exc_info() of a task that waits in an except block is seen by that task alone."""

    async def handling() -> object:
        try:
            raise Oops
        except Oops as error:
            wait(asyncio.sleep(0.01))
            kept = sys.exc_info()[1] is error
        return kept, sys.exc_info()[1]

    async def bystander() -> object:
        await asyncio.sleep(0.005)
        return sys.exc_info()[1]

    async def main() -> list[object]:
        return await asyncio.gather(bridged(handling()), bridged(bystander()), bystander())

    assert run(main()) == [(True, None), None, None]


def test_debug_mode_finds_nothing(debug_run: Run) -> None:
    """Neither slow callbacks of our making, nor calls that are not safe from threads."""

    async def main() -> int:
        return await bridged(asyncio.wait_for(value(doubled(1)), 60)) + await in_thread(doubled, 2)

    assert debug_run(bridged(main())) == 6


def test_closing_a_suspended_coroutine_runs_its_finally_blocks(run: Run) -> None:
    """GeneratorExit arrives inside the wait, as it would at an await."""
    seen: list[str] = []

    def helper() -> None:
        try:
            wait(asyncio.get_running_loop().create_future())
        except GeneratorExit:
            seen.append("helper")
            raise

    async def inside() -> None:
        try:
            helper()
        finally:
            seen.append("coroutine")

    async def main() -> None:
        coroutine = bridged(inside())
        coroutine.send(None)
        coroutine.close()
        assert seen == ["helper", "coroutine"]

    run(main())


def test_a_suspended_coroutine_may_be_collected_from_within_another_bridge(run: Run) -> None:
    """Its finally blocks run where the collector runs, and control comes back there."""
    seen: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("ended")

    async def main() -> list[str]:
        coroutine = bridged(forgotten())
        coroutine.send(None)

        async def elsewhere() -> list[str]:
            nonlocal coroutine
            del coroutine
            gc.collect()
            return [*seen, wait(value("went on"))]

        async with asyncio.timeout(60):
            return await asyncio.create_task(bridged(elsewhere()))

    assert run(main()) == ["ended", "went on"]


def test_a_suspended_coroutine_may_be_collected_in_another_thread(run: Run) -> None:
    """A greenlet cannot run there; its own thread ends it, finally blocks and all."""
    seen: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("ended")

    async def main() -> None:
        kept = [bridged(forgotten())]
        kept[0].send(None)
        await asyncio.to_thread(kept.clear)
        await bridged(value(1))
        assert seen == ["ended"]

    run(main())


@pytest.mark.parametrize("when", ["in another task", "after the loop"])
def test_a_wait_in_a_finally_block_of_a_dropped_coroutine_is_refused(run: Run, when: str) -> None:
    """Nobody steps it any more, so it cannot wait; it neither hangs nor disturbs who ends it."""
    errors: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            try:
                wait(value(1))
            except RuntimeError as error:
                errors.append(str(error))

    async def start() -> Any:
        coroutine = bridged(forgotten())
        coroutine.send(None)
        return coroutine

    async def end(coroutine: Any) -> int:
        coroutine.close()
        return wait(value(1))

    coroutine = run(start())
    if when == "in another task":
        assert run(bridged(end(coroutine))) == 1
    else:
        coroutine.close()
    assert len(errors) == 1
    assert "outside the bridge" in errors[0]


def objects(kind: type) -> int:
    gc.collect()
    return sum(issubclass(type(item), kind) for item in gc.get_objects())  # a dead proxy has no __class__


def test_ten_thousand_at_once_leave_nothing_behind(run: Run) -> None:
    """All 10,000 are suspended inside a wait at the same time; then no greenlet and no memory is left."""
    psutil = pytest.importorskip("psutil")

    async def one(gate: asyncio.Event, waiting: list[int]) -> int:
        waiting.append(1)
        wait(gate.wait())
        return doubled(1)

    async def main() -> None:
        gate = asyncio.Event()
        waiting: list[int] = []
        tasks = [asyncio.create_task(bridged(one(gate, waiting))) for _ in range(10_000)]
        while len(waiting) < 10_000:
            await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*tasks) == [2] * 10_000

    run(main())
    before, process = objects(greenlet.greenlet), psutil.Process()
    memory = process.memory_info().rss
    run(main())
    run(main())
    assert objects(greenlet.greenlet) <= before
    assert process.memory_info().rss - memory < 20_000_000


@pytest.mark.parametrize("where", ["loop", "loop, below a wait", "thread", "thread, below a wait"])
def test_a_failure_makes_no_reference_cycle(run: Run, where: str) -> None:
    """A failed request's memory is free at once: exception, traceback, task and greenlet do not keep each other."""

    async def request() -> None:
        if where == "loop":
            await bridged(failing())
        elif where == "loop, below a wait":

            async def inside() -> None:
                wait(failing())

            await bridged(inside())
        elif where == "thread":
            await in_thread([].pop)
        else:
            await in_thread(lambda: wait(failing()))

    async def attempt() -> None:
        task = asyncio.create_task(request())
        await asyncio.wait([task])
        assert isinstance(task.exception(), Oops | IndexError)

    async def left() -> int:
        await asyncio.sleep(0.01)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await attempt()
            await asyncio.sleep(0.01)
            return gc.collect()
        finally:
            gc.enable()

    async def main() -> int:
        pool = Threads(1)
        current_threads.set(pool)
        await attempt()
        try:
            return min([await left(), await left()])  # other threads of the process may leave something once
        finally:
            pool.close()

    assert run(main()) == 0
