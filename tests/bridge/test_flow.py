"""``flow``: what a piece of code belongs to."""

from __future__ import annotations

import asyncio
import threading

from decant.bridge import bridged, flow, in_thread, wait


async def current() -> object:
    await asyncio.sleep(0)
    return flow()


async def test_a_task_is_its_own_flow_and_so_is_its_child() -> None:
    """Tasks that run at the same time are different flows."""
    task = asyncio.current_task()
    assert flow() is task
    assert await bridged(current()) is task
    child = asyncio.create_task(current())
    assert await child is child


async def test_a_thread_belongs_to_the_task_that_sent_it() -> None:
    """So does what the thread waits for, and a thread sent from there; a child task does not."""
    task = asyncio.current_task()

    async def nested() -> tuple[object, object, object]:
        child = asyncio.create_task(current())
        return await current(), await in_thread(flow), await child is child

    def work() -> list[object]:
        return [flow(), wait(current()), *wait(nested())]

    assert await in_thread(work) == [task, task, task, task, True]
    assert flow() is task


async def test_threads_of_child_tasks_are_apart() -> None:
    """Two threads that run at once are two flows."""
    first, second = await asyncio.gather(in_thread(flow), in_thread(flow))
    assert first is not second


def test_a_thread_without_a_loop_is_one_flow() -> None:
    """Whatever it waits for belongs to it; another thread is another flow."""
    own = flow()
    assert flow() is own
    assert wait(current()) is own
    assert wait(current()) is own
    others: list[object] = []
    thread = threading.Thread(target=lambda: others.append(flow()))
    thread.start()
    thread.join()
    assert others[0] is not own
