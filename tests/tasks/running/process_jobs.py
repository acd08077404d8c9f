"""What the tests run in processes: importable there, and without anything around it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from decant import wait
from decant.tasks.errors import SoftTimeLimitExceeded
from decant.tasks.signals import worker_process_init, worker_process_shutdown

_marks: list[str] = []


@worker_process_init.connect
def began(**kwargs: object) -> None:
    _marks.append("init")


@worker_process_shutdown.connect
def ended(**kwargs: object) -> None:
    if "DECANT_TEST_ENDED" in os.environ:
        Path(os.environ["DECANT_TEST_ENDED"]).write_text(str(os.getpid()))


def marks() -> list[str]:
    return _marks


def end_into(file: str) -> None:
    os.environ["DECANT_TEST_ENDED"] = file


def pid() -> int:
    return os.getpid()


def add(x: int, y: int = 0) -> int:
    return x + y


async def add_later(x: int, y: int) -> int:
    await asyncio.sleep(0.01)
    return x + y


def fail() -> None:
    raise KeyError("nothing there")


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly() -> None:
    raise Odd(1, 2)


def unpicklable() -> object:
    return lambda: None


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hold(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)


def _spin() -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        pass


def spin_softly(file: str) -> str:
    """Never waits. The loop is a function's: from Python 3.12 on, what a signal raises at its jump back is in no
    ``try`` of the same function.
    """
    try:
        Path(file).write_text(str(os.getpid()))
        _spin()
    except SoftTimeLimitExceeded:
        return "tidied up"
    return "to the end"


async def sleep_softly(file: str) -> str:
    try:
        Path(file).write_text(str(os.getpid()))
        async with asyncio.timeout(30):
            await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "tidied up"
    return "to the end"


def wait_softly(file: str) -> str:
    try:
        Path(file).write_text(str(os.getpid()))
        wait(asyncio.sleep(30))
    except SoftTimeLimitExceeded:
        wait(asyncio.sleep(0))
        return "tidied up"
    return "to the end"


_kept: list[bytes] = []


def keep(mib: int) -> None:
    _kept.append(b"x" * (mib * 1024 * 1024))


def eat(mib: int, hold_s: float) -> int:
    food = bytearray(mib * 1024 * 1024)
    for at in range(0, len(food), 4096):
        food[at] = 1
    time.sleep(hold_s)
    return len(food)
