"""Flower's JSON API: its routes, names and errors."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest

from . import sample
from .test_acting import sent, state, until, worker

UNKNOWN = uuid.UUID(int=12345)


async def get(site: Any, path: str, status: int = 200, **options: Any) -> Any:
    answer = await site.client.get(f"/jobs/api{path}", **options)
    assert answer.status_code == status, await answer.get_data(as_text=True)
    return await answer.get_json() if status == 200 else await answer.get_data(as_text=True)


async def post(site: Any, path: str, status: int = 200, **options: Any) -> Any:
    answer = await site.client.post(f"/jobs/api{path}", **options)
    assert answer.status_code == status, await answer.get_data(as_text=True)
    return await answer.get_json() if status == 200 else await answer.get_data(as_text=True)


@pytest.mark.parity("flower", "GET /api/workers")
async def test_workers(site: Any) -> None:
    await site.fill()
    workers = await get(site, "/workers?refresh=1")
    assert list(workers) == [sample.WORKER, sample.OTHER]
    one = workers[sample.WORKER]
    assert {queue["name"] for queue in one["active_queues"]} == {"default", "mail", "imports"}
    assert one["active"][0]["id"] == str(sample.PROGRESSING)
    assert "app.add" in one["registered"]
    assert not any(name.startswith("celery.") for name in one["registered"])
    assert one["stats"]["pool"]["max-concurrency"] == 100
    assert await get(site, f"/workers?workername={sample.WORKER}") == {sample.WORKER: one}
    assert await get(site, "/workers?status=1") == {sample.WORKER: True, sample.OTHER: True}
    assert await get(site, "/workers?workername=nobody", 404) == "Unknown worker 'nobody'"


@pytest.mark.parity("flower", "GET /api/tasks")
async def test_tasks(site: Any) -> None:
    await site.fill(60)
    everything = await get(site, "/tasks")
    assert len(everything) == 66
    received = [task["received"] for task in everything.values()]
    assert received == sorted(received, reverse=True)
    failed = everything[str(sample.FAILED)]
    assert (failed["uuid"], failed["name"], failed["state"]) == (str(sample.FAILED), "app.mail.send", "FAILURE")
    assert failed["runtime"] == pytest.approx(0.1)
    assert everything[str(sample.PROGRESSING)]["state"] == "PROGRESS"
    assert len(await get(site, "/tasks?limit=5")) == 5
    assert list(await get(site, "/tasks?limit=5&offset=3")) == list(everything)[3:8]
    oldest = await get(site, "/tasks?sort_by=received&limit=2")
    assert list(oldest) == list(everything)[:-3:-1]
    names = [task["name"] for task in (await get(site, "/tasks?sort_by=name")).values()]
    assert names == sorted(names)
    assert list(await get(site, "/tasks?state=REVOKED")) == [str(sample.GROUPED)]
    assert len(await get(site, "/tasks?state=All")) == 66
    assert str(sample.CHILD) in await get(site, "/tasks?taskname=app.mail.log")
    assert len(await get(site, f"/tasks?workername={sample.WORKER}")) == 64
    assert str(sample.PROGRESSING) in await get(site, "/tasks?search=import_csv")
    assert await get(site, "/tasks?received_start=2999-01-01 00:00") == {}
    assert len(await get(site, "/tasks?received_end=2999-01-01 00:00")) == 66


@pytest.mark.parity("flower", "GET /api/tasks")
@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=-1", "limit=1001", "offset=x", "sort_by=color", "state=DONE", "received_start=soon", "search=("],
)
async def test_tasks_with_a_parameter_that_is_wrong(site: Any, query: str) -> None:
    assert await get(site, f"/tasks?{query}", 400)


@pytest.mark.parity("flower", "GET /api/task/types")
async def test_one_task_and_the_types(site: Any) -> None:
    await site.fill()
    known = (await get(site, "/task/types"))["task-types"]  # tasks that other modules share are there too
    assert [name for name in known if name.startswith("app.")] == [
        "app.add", "app.clicks.drain", "app.fail", "app.hang", "app.links.import_csv", "app.mail.log", "app.mail.send",
        "app.pages.preview",
    ]  # fmt: skip
    failed = await get(site, f"/task/info/{sample.FAILED}")
    assert failed["exception"] == "ConnectionRefusedError('the mail server refuses connections')"
    assert failed["traceback"].startswith("Traceback")
    succeeded = await get(site, f"/task/info/{sample.SUCCEEDED}")
    assert succeeded["result"]["message_id"] == "<1@example.com>"
    assert succeeded["children"] == [str(sample.CHILD)]
    assert await get(site, f"/task/info/{UNKNOWN}", 404) == f"Unknown task '{UNKNOWN}'"
    assert await get(site, "/task/info/nonsense", 404) == "Unknown task 'nonsense'"
    result = await get(site, f"/task/result/{sample.FAILED}")
    assert (result["task-id"], result["state"]) == (str(sample.FAILED), "FAILURE")
    assert result["traceback"].startswith("Traceback")
    assert (await get(site, f"/task/result/{sample.SUCCEEDED}"))["result"]["message_id"] == "<1@example.com>"
    assert (await get(site, f"/task/result/{UNKNOWN}"))["state"] == "PENDING"
    assert await get(site, f"/task/result/{UNKNOWN}?timeout=soon", 400)


@pytest.mark.parity("flower", "GET /api/queues/length")
async def test_queues(site: Any) -> None:
    await site.fill()
    assert await get(site, "/queues/length") == {
        "active_queues": [
            {"name": "default", "messages": 1},
            {"name": "imports", "messages": 0},
            {"name": "mail", "messages": 3},
        ]
    }


@pytest.mark.parity("flower", "POST /api/task/apply")
async def test_calling(site: Any) -> None:
    """Waiting for the result, not waiting, and by a name that only workers know."""
    async with worker(site):
        answer = await post(site, "/task/apply/app.add", json={"args": [1], "kwargs": {"y": 2}})
        assert (answer["state"], answer["result"]) == ("SUCCESS", 3)
        failed = await post(site, "/task/apply/app.fail?timeout=30", json={"args": ["why"]})
        assert (failed["state"], failed["result"]) == ("FAILURE", "ValueError('why')")
        waiting = await post(site, "/task/apply/app.hang?timeout=0.3")
        assert waiting["state"] in ("PENDING", "STARTED", "PROGRESS")
        answer = await post(site, "/task/async-apply/app.add", json={"args": [3, 4]})
        result = await get(site, f"/task/result/{answer['task-id']}?timeout=30")
        assert (result["state"], result["result"]) == ("SUCCESS", 7)
        later = await post(
            site, "/task/async-apply/app.add", json={"args": [1, 1], "eta": "2999-01-01 00:00:00.000000"}
        )
        assert await state(site, later["task-id"]) == "PENDING"
        info = await get(site, f"/task/info/{later['task-id']}")
        assert info["eta"] == "2999-01-01T00:00:00+00:00"
        answer = await post(
            site, "/task/send-task/elsewhere.work", json={"args": [1], "queue": "other", "countdown": 60}
        )
        assert (await get(site, f"/task/info/{answer['task-id']}"))["routing_key"] == "other"


@pytest.mark.parity("flower", "POST /api/task/apply")
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("apply/app.unknown", b"{}", 404),
        ("async-apply/app.unknown", b"{}", 404),
        ("async-apply/app.add", b"{", 400),
        ("async-apply/app.add", b"[" * 100_000, 400),
        ("async-apply/app.add", b"\xff", 400),
        ("async-apply/app.add", b"[]", 400),
        ("async-apply/app.add", b'{"args": 1}', 400),
        ("async-apply/app.add", b'{"kwargs": []}', 400),
        ("async-apply/app.add", b'{"eta": "soon"}', 400),
        ("async-apply/app.add", b'{"countdown": "x"}', 400),
        ("async-apply/app.add", b'{"color": "red"}', 400),
        ("async-apply/app.add", b'{"priority": "x"}', 400),
        ("send-task/any", b'{"args": "x"}', 400),
    ],
)
async def test_a_call_that_is_wrong(site: Any, path: str, body: bytes, status: int) -> None:
    await post(site, f"/task/{path}", status, data=body)


@pytest.mark.parity("flower", "POST /api/task/revoke")
async def test_revoking_and_aborting(site: Any) -> None:
    id_ = await sent(site, "app.add", 1, 2)
    assert await post(site, f"/task/revoke/{id_}") == {"message": f"Revoked '{id_}'"}
    assert await state(site, id_) == "REVOKED"
    assert await post(site, "/task/revoke/nonsense", 404) == "Unknown task 'nonsense'"
    async with worker(site):
        for path in ("/task/abort/{}", "/task/revoke/{}?terminate=true"):
            running = await sent(site, "app.hang")

            async def runs(id_: str = running) -> bool:
                return await state(site, id_) == "PROGRESS"

            await until(runs)
            await post(site, path.format(running))

            async def stopped(id_: str = running) -> bool:
                return await state(site, id_) == "REVOKED"

            await until(stopped)


@pytest.mark.parity("flower", "POST /api/worker/pool")
@pytest.mark.parity("flower", "POST /api/task/rate-limit")
async def test_a_worker_is_told(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.tasks.control, "broadcast", partial(site.tasks.control.broadcast, timeout=30))
    async with worker(site, concurrency=3) as service:
        name = service.id
        assert (await post(site, f"/worker/pool/grow/{name}?n=2"))["message"] == f"Growing '{name}' worker's pool by 2"
        assert service.worker.max_jobs == 5
        await post(site, f"/worker/pool/shrink/{name}")
        assert service.worker.max_jobs == 4
        for n in ("0", "x", "-1"):
            await post(site, f"/worker/pool/grow/{name}?n={n}", 400)
        await post(site, f"/worker/queue/add-consumer/{name}?queue=mail")
        assert "mail" in service.worker.queues
        await post(site, f"/worker/queue/cancel-consumer/{name}?queue=mail")
        assert "mail" not in service.worker.queues
        await post(site, f"/worker/queue/add-consumer/{name}", 400)
        for path in ("pool/grow", "pool/shrink", "shutdown"):
            assert await post(site, f"/worker/{path}/nobody", 404) == "Unknown worker 'nobody'"
        limit = f"?workername={name}&ratelimit=10/m"
        assert (await post(site, f"/task/rate-limit/app.add{limit}"))["message"] == "New rate limit set: 'app.add' 10/m"
        await post(site, f"/task/rate-limit/app.add?workername={name}&ratelimit=fast", 403)
        await post(site, "/task/rate-limit/app.add", 400)
        await post(site, "/task/rate-limit/app.unknown?ratelimit=1/s", 404)
        await post(site, f"/task/timeout/app.add?workername={name}&soft=5&hard=10")
        await post(site, "/task/timeout/app.add", 400)
        await post(site, "/task/timeout/app.add?soft=x", 400)
        assert await post(site, f"/worker/shutdown/{name}") == {"message": "Shutting down!"}


@pytest.mark.parity("flower", "GET /healthcheck")
async def test_health(site: Any) -> None:
    assert await site.text("/healthcheck") == "OK"
