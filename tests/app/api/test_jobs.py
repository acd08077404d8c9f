"""Jobs by the API: asked for, done by a real worker, and nobody else's business."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

import decant.tasks.worker  # noqa: F401  its scripts are read here, not on the loop
from app.extensions import tasks
from decant import Quart
from decant.tasks.testing import start_worker
from workers.jobs.sums import add

from .conftest import Caller, Callers, refused


async def ended(caller: Caller, url: str) -> dict[str, Any]:
    """The job, as soon as it has ended."""
    pause_s = 0.02
    async with asyncio.timeout(60):
        while (job := (await caller.get(url)).json)["state"] in ("PENDING", "STARTED"):
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.2, 0.5)  # RATE_API holds for this program too
    return dict(job)


@pytest.mark.parametrize(
    ("x", "y", "total"), [(2, 3, 5), (0.5, 2, 2.5), (-1, 1, 0), (2**53, 2**53, 2**54), (1e300, 1, 1e300)]
)
async def test_a_sum_is_worked_out(ada: Caller, app: Quart, x: float, y: float, total: float) -> None:
    """202 and where it will be; PENDING until a worker has run it, then SUCCESS and the result."""
    response = await ada.post("/add", json={"x": x, "y": y})
    assert response.status_code == 202
    url = response.json["url"]
    assert response.headers["Location"] == url == f"/api/v1/jobs/{response.json['id']}"
    path = url.removeprefix("/api/v1")
    assert (await ada.get(path)).json == {"id": response.json["id"], "state": "PENDING"}
    async with start_worker(app):
        assert await ended(ada, path) == {"id": response.json["id"], "state": "SUCCESS", "result": total}


async def test_a_failure_is_told(ada: Caller, app: Quart) -> None:
    """With the error's type and message."""
    me = (await ada.post("/add", json={"x": 1, "y": 1})).json["id"]
    async with app.app_context():
        record = await tasks.runtime().record(UUID(me))
        assert record is not None
        headers = {"owner": _owner(record)}
        job = await add.apply_async(("one", 1), headers=headers)
    async with start_worker(app):
        told = await ended(ada, f"/jobs/{job.id}")
    assert told["state"] == "FAILURE"
    assert told["error"]["type"] == "TypeError"
    assert "str" in told["error"]["message"]
    assert "result" not in told


def _owner(record: Any) -> Any:
    from decant.tasks.codec import decode_envelope

    return decode_envelope(record.payload).headers["owner"]


async def test_a_job_that_was_revoked(ada: Caller, app: Quart) -> None:
    """Has no result, and no worker runs it."""
    identity = (await ada.post("/add", json={"x": 1, "y": 1})).json["id"]
    async with app.app_context():
        await tasks.AsyncResult(identity).revoke()
    told = (await ada.get(f"/jobs/{identity}")).json
    assert told["state"] == "REVOKED"
    assert "result" not in told


async def test_others_see_nothing(ada: Caller, caller: Callers, app: Quart) -> None:
    """A job of somebody else, one that the application has started itself, and one that there is not, are all 404."""
    eve = await caller("eve")
    path = (await ada.post("/add", json={"x": 2, "y": 3})).json["url"].removeprefix("/api/v1")
    async with app.app_context():
        ours = await add.delay(1, 2)
        passing = await add.apply_async((1, 2), durable=False)  # Redis has what became of it, without its call
        async with start_worker(app):
            assert await passing.get(timeout=60) == 3
    for other in (ours.id, passing.id, "01993f7e-8c1d-7d3e-a4c5-0e9f6a1b2c3d", "1", "x"):
        assert (await eve.get(f"/jobs/{other}")).status_code == 404
    assert (await eve.get(path)).status_code == 404
    assert (await ada.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["#/x", "#/y"]),
        ({"x": "2", "y": 3}, ["#/x"]),
        ({"x": 2, "y": None}, ["#/y"]),
        ({"x": 2, "y": True}, ["#/y"]),
        ({"x": 2**53 + 1, "y": 1}, ["#/x"]),
        ({"x": 1e301, "y": 1}, ["#/x"]),
        ({"x": 1, "y": 2, "z": 3}, ["#/z"]),
    ],
)
async def test_what_cannot_be_added(ada: Caller, body: dict[str, Any], wrong: list[str]) -> None:
    """Is refused at once, not by the job."""
    assert refused(await ada.post("/add", json=body)) == wrong
