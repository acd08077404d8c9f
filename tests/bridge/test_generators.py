"""Generators as streamed bodies, stepped by whoever sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from decant.bridge import bridged, in_thread, wait

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def row(number: int) -> int:
    """A synchronous call that waits, as a lazy load does."""
    return wait(asyncio.sleep(0.001, number))


async def asynchronous(seen: list[str]) -> AsyncIterator[int]:
    try:
        for number in range(5):
            yield row(number)
    finally:
        row(0)
        seen.append("closed")


def synchronous(seen: list[str]) -> Iterator[int]:
    try:
        for number in range(5):
            yield row(number)
    finally:
        row(0)
        seen.append("closed")


def test_an_async_generator_may_wait_when_its_steps_are_bridged(run: Run) -> None:
    """Each step in a bridge of its own, by the task that sends the body."""
    seen: list[str] = []

    async def main() -> list[int]:
        steps, numbers = asynchronous(seen), []
        while True:
            try:
                numbers.append(await bridged(anext(steps)))
            except StopAsyncIteration:
                return numbers

    assert run(main()) == [0, 1, 2, 3, 4]
    assert seen == ["closed"]


def test_each_step_may_come_from_another_task(run: Run) -> None:
    """Python 3.11's wait_for() sends each chunk from a task of its own."""
    seen: list[str] = []

    async def main() -> list[int]:
        numbers = []
        async with aclosing(asynchronous(seen)) as steps:
            for _ in range(2):
                numbers.append(await asyncio.create_task(bridged(anext(steps))))
                numbers.append(await asyncio.wait_for(bridged(anext(steps)), 60))
            await bridged(steps.aclose())
        return numbers

    assert run(main()) == [0, 1, 2, 3]
    assert seen == ["closed"]


def test_a_generator_started_in_one_bridge_goes_on_in_another(run: Run) -> None:
    """A body is created in the view's bridge, and sent in the bridge of the response."""
    seen: list[str] = []

    async def view() -> tuple[AsyncIterator[int], int]:
        steps = asynchronous(seen)
        return steps, await anext(steps)

    async def send(steps: AsyncIterator[int]) -> list[int]:
        return [number async for number in steps]

    async def main() -> list[int]:
        steps, first = await asyncio.create_task(bridged(view()))
        return [first, *await asyncio.create_task(bridged(send(steps)))]

    assert run(main()) == [0, 1, 2, 3, 4]
    assert seen == ["closed"]


def test_an_async_generator_is_refused_a_wait_outside_a_bridge(run: Run) -> None:
    """A body that is stepped plainly says so, instead of blocking."""

    async def main() -> None:
        async with aclosing(asynchronous([])) as steps:
            await anext(steps)

    with pytest.raises(RuntimeError, match="outside the bridge"):
        run(main())


def test_a_sync_generator_waits_on_the_loop(run: Run) -> None:
    """Iterated in a bridge, and closed early there."""
    seen: list[str] = []

    async def main() -> tuple[list[int], int]:
        body = synchronous(seen)
        first = next(body)
        body.close()
        return list(synchronous(seen)), first

    assert run(bridged(main())) == ([0, 1, 2, 3, 4], 0)
    assert seen == ["closed", "closed"]


def test_a_sync_generator_waits_in_threads(run: Run) -> None:
    """Each step in whichever thread of the pool is free, as a sync body is streamed."""
    seen: list[str] = []

    async def main() -> list[int]:
        body, numbers = synchronous(seen), []
        while (number := await in_thread(next, body, None)) is not None:
            numbers.append(number)
        return numbers

    assert run(main()) == [0, 1, 2, 3, 4]
    assert seen == ["closed"]


def test_cancelling_the_sender_closes_the_generator(run: Run) -> None:
    """The client goes away in the middle of a step: the body's finally block runs, and may wait."""
    seen: list[str] = []
    waits = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            yield row(1)
            waits.set()
            wait(asyncio.get_running_loop().create_future())
        finally:
            row(0)
            seen.append("closed")

    async def send() -> None:
        async for number in endless():
            assert number == 1

    async def main() -> None:
        task = asyncio.create_task(bridged(send()))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == ["closed"]
