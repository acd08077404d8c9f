"""Many who look cost no more than one."""

from __future__ import annotations

import asyncio

import pytest

from decant.monitor.recent import Recent


async def test_a_hundred_at_once_ask_once_and_later_ones_again_when_it_is_old() -> None:
    recent, asked = Recent(), []

    async def find() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        return len(asked)

    assert set(await asyncio.gather(*(recent.get("a", 60, find) for _ in range(100)))) == {1}
    assert await recent.get("b", 0, find) == 2
    assert await recent.get("b", 0, find) == 3


async def test_what_fails_or_is_cancelled_is_asked_for_again() -> None:
    recent = Recent()

    async def fail() -> int:
        raise OSError("away")

    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    async def find() -> int:
        return 1

    with pytest.raises(OSError, match="away"):
        await recent.get("a", 60, fail)
    hanging = asyncio.create_task(recent.get("a", 60, hang))
    waiting = asyncio.create_task(recent.get("a", 60, find))
    await asyncio.sleep(0)
    hanging.cancel()
    assert await waiting == 1
