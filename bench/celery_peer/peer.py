"""Celery's side of ``bench/jobs.py``: the same jobs; it runs in a virtual environment of its own.

python peer.py enqueue NAME COUNT     enqueue as many, and print how long one ``delay`` took
python peer.py latency COUNT          seconds between ``delay`` and the job's start, as JSON
"""

from __future__ import annotations

import json
import os
import sys
import time

from celery import Celery

url = os.environ["PEER_REDIS_URL"]
app = Celery("peer", broker=url, backend=url)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)


@app.task
def noop():
    return None


@app.task
def sleep_20ms():
    time.sleep(0.02)


@app.task
def started():
    return time.time()


def enqueue(name, count):
    took = []
    for _ in range(int(count)):
        begun = time.perf_counter()
        app.tasks[f"peer.{name}"].delay()
        took.append(time.perf_counter() - begun)
    return took


def latency(count):
    found = []
    for _ in range(int(count)):
        begun = time.time()
        found.append(started.delay().get(timeout=10) - begun)
        time.sleep(0.02)
    return found


if __name__ == "__main__":
    sys.modules["peer"] = sys.modules["__main__"]
    print(json.dumps({"enqueue": enqueue, "latency": latency}[sys.argv[1]](*sys.argv[2:])))
