"""Eager task factories are refused where the application starts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from decant.bridge import bridged, refuse_eager_tasks, wait

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_ordinary_factories_are_accepted(run: Run) -> None:
    """None and a factory of one's own; nothing is left behind on the loop."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        refuse_eager_tasks(loop)
        loop.set_task_factory(lambda loop, steps, **options: asyncio.Task(steps, loop=loop, **options))
        refuse_eager_tasks(loop)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert run(main()) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_factory_is_refused(run: Run) -> None:
    """The text names the factory and what to do."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        try:
            with pytest.raises(RuntimeError, match=r"eager_task_factory.*set_task_factory\(None\)"):
                refuse_eager_tasks(loop)
        finally:
            loop.set_task_factory(None)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_child_cannot_wait_in_its_parents_bridge(run: Run) -> None:
    """Started by hand inside a bridge, its first step is refused a wait; one that says bridged() may."""

    async def child() -> int:
        return wait(asyncio.sleep(0, 1))

    def eager(steps: Coroutine[Any, Any, int]) -> asyncio.Task[int]:
        return asyncio.Task(steps, loop=asyncio.get_running_loop(), eager_start=True)  # type: ignore[call-arg,unused-ignore]

    async def main() -> int:
        with pytest.raises(RuntimeError, match="outside the bridge"):
            await eager(child())
        return await eager(bridged(child())) + wait(asyncio.sleep(0, 1))

    assert run(bridged(main())) == 2
