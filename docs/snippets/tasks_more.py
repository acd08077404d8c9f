"""Retries, limits, progress, canvas, the schedule."""

import os
from datetime import timedelta

from decant import Quart
from decant.tasks import Tasks, chain, chord, crontab, group

app = Quart(__name__)
app.config.update(
    TASKS_DATABASE_URL=os.environ.get("DATABASE_URL", "postgresql:///example"),
    REDIS_URL=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
)
tasks = Tasks(app)


@tasks.task(autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=5, time_limit=30)
async def fetch(page):
    return f"page {page}"


@tasks.task
def total(pages):  # a plain function runs in a bounded thread
    return sum(map(len, pages))


@tasks.task(process=True)
def crunch(number):  # computes, so it has a process of its own
    return sum(divisor for divisor in range(1, number) if number % divisor == 0)


@tasks.task(bind=True)
async def count(self, until):
    for done in range(until):
        await self.update_state(state="PROGRESS", meta={"done": done, "of": until})
    return until


@tasks.task
async def double(number):
    return number * 2


async def canvas():
    after_each_other = chain(count.s(3), double.s(), double.s())
    at_once = group(fetch.s(page) for page in range(3))
    and_then = chord(at_once, total.s())
    return await after_each_other.delay(), await at_once.delay(), await and_then.delay()


tasks.conf.timezone = "Europe/Berlin"
tasks.conf.beat_schedule = {
    "every minute": {"task": count.name, "schedule": timedelta(minutes=1), "args": (3,)},
    "on Monday morning": {"task": fetch.name, "schedule": crontab(minute=30, hour=7, day_of_week="mon"), "args": (1,)},
}
