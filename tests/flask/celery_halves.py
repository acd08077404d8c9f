"""Run by test_mount_celery.py with Celery on its path: the snippet of docs/mount.md, a worker, and a broker that fails.

Prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import flask

SNIPPET = Path(__file__).parents[2] / "docs" / "snippets" / "mount_celery.py"


def snippet() -> Any:
    spec = importlib.util.spec_from_file_location("mount_celery", SNIPPET)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mount_celery"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def through_a_worker(client: Any, path: str) -> Any:
    """The result of a job that was begun at ``path``; a busy machine may need more than the snippet's deadlines."""
    async with asyncio.timeout(60):
        while (begun := await client.post(path, json={"x": 1, "y": 2})).status_code != 202:
            await asyncio.sleep(0.02)
        identity = (await begun.get_json())["id"]
        while True:
            shown = await client.get(f"/jobs/{identity}")
            if shown.status_code == 200 and (found := await shown.get_json())["state"] == "SUCCESS":
                return found["result"]
            await asyncio.sleep(0.02)


async def longest_gap(ended: asyncio.Event) -> float:
    """How long the loop was held at most, in seconds."""
    most, before = 0.0, time.perf_counter()
    while not ended.is_set():
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        most, before = max(most, now - before), now
    return most


async def away(client: Any, stop_broker: Any) -> dict[str, Any]:
    """20 jobs at once while the broker takes connections and says nothing; and how the loop fares meanwhile."""
    stop_broker()
    ended = asyncio.Event()
    gap = asyncio.create_task(longest_gap(ended))
    begun = time.perf_counter()
    answers = await asyncio.gather(*(client.post("/add", json={"x": 1, "y": 2}) for _ in range(20)))
    seconds = time.perf_counter() - begun
    ended.set()
    return {"statuses": sorted({answer.status_code for answer in answers}), "seconds": seconds, "gap": await gap}


def main(broker_pid: int) -> None:
    module = snippet()
    theirs = flask.Flask("theirs")

    @theirs.post("/old/add")
    def old_add() -> Any:
        numbers = flask.request.get_json()
        return {"id": module.add.delay(numbers["x"], numbers["y"]).id}, 202

    from decant.flask import mount

    module.app.secret_key = "for tests"
    mount(module.app, theirs)
    module.app.test_client()  # imports what it needs, before there is a loop
    worker = subprocess.Popen([sys.executable, __file__, "worker"])

    async def work() -> dict[str, Any]:
        client = module.app.test_client()
        found = [await through_a_worker(client, path) for path in ("/add", "/old/add")]
        silent = await away(client, lambda: os.kill(broker_pid, signal.SIGSTOP))
        os.kill(broker_pid, signal.SIGKILL)
        refused = (await client.post("/add", json={"x": 1, "y": 2})).status_code
        return {"results": found, "refused": refused, **silent}

    status = 1
    try:
        print(json.dumps(asyncio.run(work())), flush=True)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        worker.kill()
        worker.wait()
        sys.stderr.flush()
        os._exit(status)  # threads that still wait for the broker are not waited for


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        snippet().celery_app.Worker(pool="solo", loglevel="WARNING", without_mingle=True, without_gossip=True).start()
    else:
        main(int(sys.argv[1]))
