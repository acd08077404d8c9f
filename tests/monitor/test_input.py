"""Whatever is sent, the answer says what is wrong with it: no 500, and no 503 where no server is away."""

from __future__ import annotations

from typing import Any

import pytest

from . import sample

ODD = ["%00", "a%00b", "%ff%fe", "%F0%9F%98%80", "%ED%A0%80", "9" * 400, "-1", "1e400", "nan", "x" * 3000, "%0d%0aX: y"]
PAGES = [
    "/?period={}", "/tasks?text={}", "/tasks?text=result:{}", "/tasks?state={}", "/tasks?task={}", "/tasks?worker={}",
    "/tasks?queue={}", "/tasks?since={}", "/tasks?before={}", "/tasks?after={}", "/tasks?done={}", "/worker/{}",
    "/worker/{}/pause", "/task/{}", "/queues/purge?queue={}",
]  # fmt: skip
READ = [
    "/api/workers?workername={}", "/api/workers?status={}", "/api/tasks?limit={}", "/api/tasks?offset={}",
    "/api/tasks?sort_by={}", "/api/tasks?taskname={}", "/api/tasks?workername={}", "/api/tasks?state={}",
    "/api/tasks?received_start={}", "/api/tasks?search={}", "/api/task/info/{}", "/api/task/result/{}",
    f"/api/task/result/{sample.SUCCEEDED}?timeout={{}}",
]  # fmt: skip
ORDERS = [
    f"/api/worker/pool/grow/{sample.WORKER}?n={{}}", "/api/worker/queue/add-consumer/{}?queue=a",
    "/api/worker/shutdown/{}", "/api/task/revoke/{}", f"/api/task/revoke/{sample.SUCCEEDED}?signal={{}}",
    f"/api/task/revoke/{sample.SUCCEEDED}?terminate={{}}", "/api/task/abort/{}",
    "/api/task/rate-limit/app.add?ratelimit={}", "/api/task/rate-limit/{}?ratelimit=1/m",
    "/api/task/timeout/app.add?soft={}", "/api/task/apply/{}", "/api/task/async-apply/{}",
]  # fmt: skip
ENDS = [
    "/tasks?since=0001-01-01", "/tasks?until=9999-12-31", "/api/tasks?received_start=0001-01-01",
    f"/tasks?before=-{'f' * 12}.{'0' * 32}", f"/tasks?before={'f' * 16}.{'0' * 32}", f"/tasks?after=0.{'0' * 32}",
    f"/tasks?before={-62135596800000000:x}.{'0' * 32}", f"/tasks?before=3{'f' * 13}.{'0' * 32}",
]  # fmt: skip
HUGE, DEEP = "9" * 400, "[" * 600 + "1" + "]" * 600
OPTIONS = [
    *[f'"priority": {value}' for value in ("1e400", "1e18", HUGE, "null", '"a"', "[]", "-1")],
    *[f'"countdown": {value}' for value in ("1e400", "1e300", "NaN", "-1e300", HUGE, "1e11", "[]")],
    *[f'"expires": {value}' for value in ("1e300", '"1e9"', HUGE, "true", "null", "[]")],
    *[f'"eta": {value}' for value in ('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', "5", "null")],
    *[f'"queue": {value}' for value in (r'"a\u0000b"', r'"\ud800"', "5", '""', "null", "{}", f'"{"q" * 5000}"')],
    *[f'"task_id": {value}' for value in ('"x"', "5", '""', r'"\u0000"', r'"\ud800"', "[]")],
    *[f'"headers": {value}' for value in ("5", r'{"a": "\ud800"}', r'{"x": "\u0000"}', "null")],
    r'"kwargs": {"\u0000": 1}', '"nope": 1',
]  # fmt: skip
BODIES = [
    *[f'{{"args": [1, 2], {option}}}'.encode() for option in OPTIONS],
    *[f'{{"args": [{value}, 1]}}'.encode() for value in (r'"\ud800"', r'"a\u0000"', HUGE, "1e400", DEEP)],
    b"[" * 100_000, b'"a"', b"[]", b"5", b"null", b"\xff\xfe", b"{", b"",
]  # fmt: skip


async def refused(site: Any, method: str, paths: list[str], **options: Any) -> dict[str, int]:
    """Those of the paths that were answered with 500 or more."""
    answers = {path: await site.client.open(f"/jobs{path}", method=method, **options) for path in paths}
    return {path: answer.status_code for path, answer in answers.items() if answer.status_code >= 500}


@pytest.mark.parametrize("odd", ODD)
async def test_odd_values_in_an_address_are_refused_or_find_nothing(site: Any, odd: str) -> None:
    assert await refused(site, "GET", [path.format(odd) for path in (*PAGES, *READ)]) == {}
    assert await refused(site, "POST", [path.format(odd) for path in ORDERS]) == {}


async def test_the_ends_of_time_are_times(site: Any) -> None:
    assert await refused(site, "GET", ENDS) == {}


@pytest.mark.parametrize("task", ["app.add", "%00", "%F0%9F%98%80", "x" * 3000])
async def test_odd_calls_are_refused(site: Any, task: str) -> None:
    for body in BODIES:
        for route in ("async-apply", "send-task"):
            answer = await site.client.post(f"/jobs/api/task/{route}/{task}", data=body)
            assert answer.status_code in (200, 400, 404), (body[:60], await answer.get_data(as_text=True))


@pytest.mark.parametrize("odd", ["\0", "a\0b", "😀", "x" * 3000])
@pytest.mark.parametrize(
    "field",
    ["/queues/purge queue", "/schedules/run name", "/schedules/enable name", "/schedules/disable name"],
)
async def test_odd_values_in_forms_are_refused_or_find_nothing(site: Any, field: str, odd: str) -> None:
    path, _, name = field.partition(" ")
    answer = await site.post(path, **{name: odd})
    assert answer.status_code in (303, 400, 404), await answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=utf-99", "\xff",
    ],
)  # fmt: skip
async def test_bodies_of_any_kind_are_no_500(site: Any, kind: str) -> None:
    part = b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n"
    paths = ["/queues/purge", "/schedules/run", f"/api/task/revoke/{sample.SUCCEEDED}", "/api/task/rate-limit/app.add"]
    for data in (b"", b"\xff\x00", part, b"monitor_token=%ff&a=%00", b"[" * 5000):
        assert await refused(site, "POST", paths, data=data, headers={"Content-Type": kind}) == {}


async def test_what_was_stored_and_cannot_be_read_says_so(site: Any, connection: Any) -> None:
    """Another version may have written it."""
    for state in ("SUCCESS", "FAILURE", "STARTED"):
        id_ = await connection.fetchval(
            "INSERT INTO decant_jobs (id, task, queue, payload, summary, state, attempt, worker, created, started,"
            " result, error, progress) VALUES (gen_random_uuid(), 't', 'q', '\\xc1', '', $1, 1, 'w', now(), now(),"
            " '\\xc1', '\\xc1', '\\xc1') RETURNING id",
            state,
        )
        for path in (f"/task/{id_}", f"/api/task/info/{id_}", f"/api/task/result/{id_}"):
            assert "cannot be read" in await site.text(path), path
