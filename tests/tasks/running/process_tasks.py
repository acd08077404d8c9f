"""Tasks that run in processes, as a project has them: at the top of a module."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from decant.tasks import Tasks
from decant.tasks.errors import SoftTimeLimitExceeded
from decant.tasks.shared import shared_task

tasks = Tasks(set_as_current=False)


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    x: int
    y: int


@tasks.task(process=True)
def pid() -> int:
    return os.getpid()


@tasks.task(process=True, bind=True)
def describe(self: Any, point: Point, colour: Colour, *, far: bool = False) -> dict[str, Any]:
    self.update_state(state="HALF", meta={"done": 1})
    return {"id": self.request.id, "x": point.x, "red": colour is Colour.RED, "far": far, "pid": os.getpid()}


@tasks.task(process=True, bind=True)
async def describe_later(self: Any, x: int) -> Any:
    await self.update_state(state="HALF", meta=x)
    await asyncio.sleep(0.01)
    return [self.request.id, self.request.attempt, os.getpid()]


@tasks.task(process=True, bind=True, autoretry_for=(OSError,), retry_kwargs={"countdown": 0}, max_retries=1)
def fetch(self: Any, how: str) -> int:
    if how == "self" and not self.request.retries:
        raise self.retry(countdown=0)
    if how == "os":
        raise OSError("away")
    return int(self.request.retries)


@tasks.task(process=True, max_attempts=2)
def die(file: str) -> str:
    """The first time."""
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), 9)
    return "alive"


@tasks.task(process=True)
def die_always() -> None:
    os.kill(os.getpid(), 9)


@tasks.task(process=True)
def hold(file: str) -> str:
    try:
        Path(file).write_text(str(os.getpid()))
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "tidied up"
    return "to the end"


@tasks.task(process=True)
def eat(mib: int) -> int:
    food = bytearray(mib * 1024 * 1024)
    for at in range(0, len(food), 4096):
        food[at] = 1
    time.sleep(60)
    return len(food)


class Summing(tasks.Task):  # type: ignore[name-defined, misc]
    name = "summing"
    process = True

    def run(self, *values: int) -> int:
        return sum(values)


summing = tasks.register_task(Summing())


@shared_task(process=True)
def shared(x: int) -> tuple[int, int]:
    return x, os.getpid()
