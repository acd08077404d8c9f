"""What worker processes run: functions that they find by their names."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path


class Odd(Exception):
    """Pickled without complaint, and then cannot be made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def square(number: int) -> int:
    return number * number


async def square_later(number: int) -> int:
    await asyncio.sleep(0)
    return number * number


def pid() -> int:
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def hold(path: str) -> None:
    """Say who runs, and never end."""
    file = Path(path)
    file.with_suffix(".new").write_text(str(os.getpid()))
    file.with_suffix(".new").rename(file)
    time.sleep(600)


def late_note(path: str) -> None:
    """Leave a file, a little later."""
    time.sleep(0.2)
    Path(path).touch()


def fail() -> None:
    raise KeyError("nothing there")


def fail_oddly() -> None:
    raise Odd(1, 2)


def unpicklable() -> object:
    return lambda: None


def leave() -> None:
    os._exit(3)
