"""What the bridge costs: microseconds per call, next to a plain await and to a hop to a thread, in one run.

``python bench/bridge.py [--calls N] [--rounds N] [--uvloop]``. Each figure is the best of the rounds: the least
disturbed. ``ratio`` is the figure divided by that of ``asyncio.to_thread``.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import time
from collections.abc import Awaitable, Callable

from decant.bridge import Threads, bridged, wait

Measured = Callable[[int], Awaitable[None]]


async def ready() -> None:
    """Awaited without giving up the loop: what is left is the cost of the call."""


async def turn() -> None:
    await asyncio.sleep(0)


def nothing() -> None:
    pass


async def plain_await(calls: int) -> None:
    for _ in range(calls):
        await ready()


async def plain_turn(calls: int) -> None:
    for _ in range(calls):
        await turn()


async def per_bridged(calls: int) -> None:
    for _ in range(calls):
        await bridged(ready())


async def per_bridged_turn(calls: int) -> None:
    for _ in range(calls):
        await bridged(turn())


async def per_wait(calls: int) -> None:
    async def inside() -> None:
        for _ in range(calls):
            wait(ready())

    await bridged(inside())


async def per_wait_turn(calls: int) -> None:
    async def inside() -> None:
        for _ in range(calls):
            wait(turn())

    await bridged(inside())


async def to_thread(calls: int) -> None:
    for _ in range(calls):
        await asyncio.to_thread(nothing)


def threaded(pool: Threads, *, waits: bool = False) -> Measured:
    async def per_in_thread(calls: int) -> None:
        for _ in range(calls):
            await pool.run(nothing)

    def waiting(calls: int) -> None:
        for _ in range(calls):
            wait(ready())

    async def per_wait_in_thread(calls: int) -> None:
        await pool.run(waiting, calls)

    return per_wait_in_thread if waits else per_in_thread


async def best(measured: Measured, calls: int, rounds: int) -> float:
    """Microseconds per call."""
    await measured(max(1, calls // 10))
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await measured(calls)
        times.append((time.perf_counter() - started) / calls * 1e6)
    return min(times)


async def main(calls: int, rounds: int) -> None:
    pool, hashing = Threads(4), Threads(4, may_wait=False)
    cases: dict[str, tuple[Measured, int]] = {
        "asyncio.to_thread(f)": (to_thread, calls // 10),
        "in_thread(f)": (threaded(pool), calls // 10),
        "in_thread(f), may_wait=False": (threaded(hashing), calls // 10),
        "wait(...) in a thread": (threaded(pool, waits=True), calls // 10),
        "await f()": (plain_await, calls),
        "await bridged(f())": (per_bridged, calls),
        "wait(f())": (per_wait, calls),
        "await f(), one turn of the loop": (plain_turn, calls),
        "await bridged(f()), one turn": (per_bridged_turn, calls),
        "wait(f()), one turn": (per_wait_turn, calls),
    }
    figures = {name: await best(case, count, rounds) for name, (case, count) in cases.items()}
    pool.close()
    hashing.close()
    hop = figures["asyncio.to_thread(f)"]
    loop = type(asyncio.get_running_loop())
    print(f"Python {platform.python_version()}, {loop.__module__}.{loop.__qualname__}, best of {rounds} rounds")
    print(f"{'':34}{'µs':>8}{'ratio':>9}")
    for name, figure in figures.items():
        print(f"{name:34}{figure:8.2f}{figure / hop:9.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50_000, help="calls per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--uvloop", action="store_true", help="measure on uvloop")
    options = parser.parse_args()
    if options.calls < 10 or options.rounds < 1:
        parser.error("at least 10 calls and 1 round are needed")
    factory = None
    if options.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(options.calls, options.rounds))
