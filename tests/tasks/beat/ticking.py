"""A process that runs a schedule: ``python ticking.py DATABASE_URL REDIS_URL``."""

from __future__ import annotations

import asyncio
import sys

from decant import Quart
from decant.tasks import Tasks
from decant.tasks.beat.ticker import Ticker

EVERY_S = 0.15


async def tick() -> None:
    """Runs on the schedule."""


def main(database_url: str, redis_url: str) -> None:
    app = Quart("ticks")
    app.config.update(SQLALCHEMY_DATABASE_URI=database_url, REDIS_URL=redis_url)
    tasks = Tasks(app)
    tasks.task(name="app.tick")(tick)
    tasks.conf.beat_schedule = {"every": {"task": "app.tick", "schedule": EVERY_S, "catch_up": "all"}}
    asyncio.run(Ticker(tasks, app).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
