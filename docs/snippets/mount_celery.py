"""The Quart half enqueues to the team's Celery while its workers still run."""

import asyncio
import os

from celery import Celery
from kombu.exceptions import OperationalError

from decant import Quart
from decant.bridge import Threads
from decant.quart import request

url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
celery_app = Celery("shop", broker=url, backend=url)
celery_app.conf.update(
    broker_transport_options={"socket_connect_timeout": 1, "socket_timeout": 5},
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},  # so that a thread does not try for long
    redis_socket_connect_timeout=1,
)


@celery_app.task(name="shop.add")
def add(x, y):
    return x + y


app = Quart(__name__)
# Of their own, so that a broker that is away cannot take those of views; a deadline does not wait for them.
celery_threads = Threads(8, max_queued=100, grace_s=0, may_wait=False)


async def send(task, *args, timeout_s=2.0, **kwargs):
    """``task.delay()`` that holds up nobody. After a TimeoutError the job may have been sent, or may not."""
    async with asyncio.timeout(timeout_s):
        return await celery_threads.run(task.delay, *args, **kwargs)


@app.post("/add")
async def begin():
    numbers = await request.get_json()
    try:
        result = await send(add, numbers["x"], numbers["y"])
    except (TimeoutError, OperationalError):
        return {"error": "the queue does not answer"}, 503, {"Retry-After": "5"}
    return {"id": result.id}, 202


@app.get("/jobs/<job_id>")
async def show(job_id):
    async with asyncio.timeout(2):
        return await celery_threads.run(read, job_id)


def read(job_id):
    result = celery_app.AsyncResult(job_id)
    return {"state": result.state, "result": result.result if result.successful() else None}
