"""Nobody sees or changes anything that the application does not let them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from quart import Quart as PlainQuart
from quart import abort, redirect, request, session
from redis import Redis

from decant import Quart
from decant.errors import ConfigError
from decant.monitor import Monitor
from decant.tasks import Tasks

from . import sample
from .conftest import form_token

PAGES = [
    "/", "/workers", f"/worker/{sample.WORKER}", "/tasks", f"/task/{sample.SUCCEEDED}", "/schedules", "/queues",
    "/queues/purge?queue=default", "/live", "/broker", "/metrics", "/api/workers", "/api/tasks", "/api/task/types",
    f"/api/task/info/{sample.FAILED}", f"/api/task/result/{sample.FAILED}", "/api/queues/length",
]  # fmt: skip
FORMS = [
    f"/task/{sample.FAILED}/retry", f"/task/{sample.WAITING}/revoke", f"/task/{sample.PROGRESSING}/abort",
    f"/worker/{sample.WORKER}/pause", f"/worker/{sample.WORKER}/resume", f"/worker/{sample.WORKER}/shutdown",
    "/schedules/run", "/schedules/enable", "/schedules/disable", "/queues/purge",
]  # fmt: skip
POSTS = [
    f"/api/worker/shutdown/{sample.WORKER}", f"/api/worker/pool/grow/{sample.WORKER}",
    f"/api/worker/pool/shrink/{sample.WORKER}", f"/api/worker/queue/add-consumer/{sample.WORKER}?queue=a",
    f"/api/worker/queue/cancel-consumer/{sample.WORKER}?queue=a", "/api/task/apply/app.add",
    "/api/task/async-apply/app.add", "/api/task/send-task/app.add", f"/api/task/revoke/{sample.WAITING}",
    f"/api/task/abort/{sample.WAITING}", "/api/task/rate-limit/app.add?ratelimit=1/m",
    "/api/task/timeout/app.add?soft=1",
]  # fmt: skip


@pytest.mark.parametrize("debug", [True, False])
def test_without_a_guard_it_is_mounted_in_debug_mode_only(debug: bool) -> None:
    app = Quart(__name__)
    app.debug = debug
    if debug:
        app.register_blueprint(Monitor(Tasks(set_as_current=False)))
        return
    with pytest.raises(ConfigError, match=r"guard = None .*Monitor\(tasks, guard=is_admin\)"):
        app.register_blueprint(Monitor(Tasks(set_as_current=False)))
    assert list(app.url_map.iter_rules("static"))
    assert not app.blueprints


@pytest.mark.parity("flower", "url_prefix")
def test_it_is_one_line_in_plain_quart_too() -> None:
    app = PlainQuart(__name__)
    app.register_blueprint(Monitor(Tasks(set_as_current=False), guard=lambda: True), url_prefix="/jobs")
    assert "monitor" in app.blueprints


def test_another_kind_of_metrics_is_refused() -> None:
    with pytest.raises(ConfigError, match="metrics = 'public'"):
        Monitor(Tasks(set_as_current=False), metrics="public")


async def _async_false() -> bool:
    return False


@pytest.mark.parity("flower", "auth")
@pytest.mark.parametrize("guard", [lambda: False, lambda: None, _async_false], ids=["no", "none", "async"])
async def test_who_may_not_see_sees_nothing(make_site: Any, guard: Any) -> None:
    """No page, no data, no stream, no action."""
    async with make_site(guard=guard) as site:
        for path in PAGES:
            await site.text(path, 403)
        for path in FORMS + POSTS:
            assert (await site.client.post(f"/jobs{path}")).status_code == 403, path
        await site.text("/healthcheck")
        await site.text("/static/monitor.css")


@pytest.mark.parity("flower", "auth")
async def test_a_guard_leads_to_the_log_in(make_site: Any) -> None:
    """It sees the request and its session, may be async, and its answer is sent."""

    async def guard() -> Any:
        return True if session.get("user") == "ada" else redirect(f"/login?next={request.path}")

    async with make_site(guard=guard) as site:

        @site.app.route("/login")
        async def login() -> str:
            session["user"] = "ada"
            return "welcome"

        answer = await site.client.get("/jobs/tasks")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/jobs/tasks")
        await site.client.get("/login")
        assert "<h1>Jobs</h1>" in await site.text("/tasks")


async def test_a_guard_may_abort(make_site: Any) -> None:
    def guard() -> Any:
        abort(401)

    async with make_site(guard=guard) as site:
        await site.text("/tasks", 401)


async def test_a_broken_guard_lets_nobody_in(make_site: Any) -> None:
    def broken() -> Any:
        raise RuntimeError("broken")

    for guard in (broken, lambda: 1, object):
        async with make_site({"PROPAGATE_EXCEPTIONS": False}, guard=guard) as site:
            await site.text("/tasks", 500)


@pytest.mark.parity("flower", "read_only")
async def test_read_only_there_are_no_buttons_and_posts_are_refused(make_site: Any) -> None:
    async with make_site(read_only=True) as site:
        await site.fill(3)
        for path in PAGES[:7]:
            page = await site.text(path)
            assert 'method="post"' not in page, path
            assert "Shut down" not in page
        await site.text("/queues/purge?queue=default", 403)
        for path in FORMS:
            assert (await site.client.post(f"/jobs{path}")).status_code == 403, path
        for path in POSTS:
            answer = await site.client.post(f"/jobs{path}")
            assert (answer.status_code, await answer.get_data(as_text=True)) == (403, "Read only mode is enabled")


async def test_who_may_see_need_not_be_allowed_to_act(make_site: Any) -> None:
    async with make_site(may_act=lambda: request.headers.get("X-User") == "admin") as site:
        await site.fill(3)
        assert 'method="post"' not in await site.text("/workers")
        assert 'method="post"' in await site.text("/workers", headers={"X-User": "admin"})
        for path in FORMS + POSTS:
            assert (await site.client.post(f"/jobs{path}")).status_code == 403, path
        answer = await site.client.post("/jobs/api/task/send-task/app.add", headers={"X-User": "admin"})
        assert answer.status_code == 200


async def test_without_a_secret_key_it_is_read_only(make_site: Any) -> None:
    async with make_site({"SECRET_KEY": None}) as site:
        await site.fill(3)
        assert 'method="post"' not in await site.text("/workers")
        assert (await site.client.post("/jobs/queues/purge", form={"queue": "default"})).status_code == 400


@pytest.mark.parity("flower", "Headers")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://localhost"}, 303),  # a proxy spoke HTTPS
    ],
)
async def test_a_form_is_taken_from_our_own_pages_only(site: Any, headers: dict[str, str], status: int) -> None:
    form = {"monitor_token": await site.token(), "queue": "default"}
    answer = await site.client.post("/jobs/queues/purge", form=form, headers=headers)
    assert answer.status_code == status
    answer = await site.client.post("/jobs/api/task/send-task/app.add", headers=headers)
    assert answer.status_code == (200 if status == 303 else 403)


@pytest.mark.parametrize("token", ["", "wrong", "ä"])
async def test_a_form_without_the_sessions_token_is_refused(site: Any, token: str) -> None:
    await site.token()
    for path in FORMS:
        answer = await site.client.post(f"/jobs{path}", form={"monitor_token": token})
        assert answer.status_code == 400, path
        assert "out of date" in await answer.get_data(as_text=True)


async def test_another_sessions_token_is_no_use(site: Any) -> None:
    stolen = form_token(await site.text("/queues/purge?queue=default"))
    other = site.app.test_client()
    await other.get("/jobs/queues/purge?queue=default")
    answer = await other.post("/jobs/queues/purge", form={"monitor_token": stolen, "queue": "default"})
    assert answer.status_code == 400


@pytest.mark.parity("flower", "Headers")
async def test_every_answer_has_the_headers_of_security(site: Any) -> None:
    for path in ["/", "/tasks", "/task/x", "/api/workers", "/metrics"]:
        headers = (await site.client.get(f"/jobs{path}")).headers
        if path == "/task/x":
            continue  # no such route: the application's own page
        assert headers["Content-Security-Policy"].startswith("default-src 'self';"), path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in headers["Cache-Control"]


async def test_the_pages_need_nothing_that_the_policy_forbids(site: Any) -> None:
    """No inline script or style, no handler in an attribute, nothing from elsewhere."""
    await site.fill(60)
    for path in PAGES[:8]:
        page = await site.text(path)
        assert re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page) is None, path
        for address in re.findall(r'(?:src|href|action)="([^"#]+)', page):
            assert address.startswith("/jobs/"), address


@pytest.mark.parametrize(("metrics", "status"), [("guarded", 403), ("open", 200), ("off", 403)])
async def test_metrics_are_guarded_unless_they_are_open(make_site: Any, metrics: str, status: int) -> None:
    async with make_site(guard=lambda: False, metrics=metrics) as site:
        await site.text("/metrics", status)
        await site.text("/api/workers", 403)


async def test_what_is_in_the_ledger_is_text_in_the_pages(site: Any) -> None:
    """A task's name, arguments, worker, error or schedule cannot bring markup into a page."""
    evil = "<script>alert(1)</script>\"'&"
    await site.fill(1)
    runtime = site.tasks.runtime(site.app)
    async with runtime.ledger.connection() as connection:
        await connection.execute("UPDATE decant_jobs SET task = $1, summary = $1, worker = $1, queue = $1", evil)
        await connection.execute("UPDATE decant_stats SET task = $1 WHERE task = 'app.mail.send'", evil)
        await connection.execute("UPDATE decant_schedule SET spec = $1", evil)
    for path in ["/", "/tasks", f"/task/{sample.FAILED}", f"/task/{sample.SUCCEEDED}", "/schedules", "/queues",
                 "/tasks?task=%3Cscript%3Ealert(1)&text=%3Cscript%3E&since=%3Cscript%3E"]:  # fmt: skip
        page = await (await site.client.get(f"/jobs{path}")).get_data(as_text=True)
        assert "<script>alert" not in page, path
        assert "&lt;script&gt;" in page, path


async def test_who_would_be_refused_has_no_buttons(make_site: Any) -> None:
    """Also where the guard of actions aborts, or leads to a log-in: to see is not to act."""

    def aborts() -> Any:
        abort(401)

    for may_act in (aborts, lambda: redirect("/login"), lambda: False):
        async with make_site(may_act=may_act) as site:
            await asyncio.to_thread(_beat, site.redis_url)
            page = await site.text("/workers")
            assert sample.WORKER in page
            assert 'method="post"' not in page


def _beat(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        sample.beat(redis)


@pytest.mark.parity("flower", "url_prefix")
@pytest.mark.parametrize(
    "path", ["/queues/purge?queue=default", f"/worker/{sample.WORKER}/shutdown", f"/task/{sample.PROGRESSING}/abort"]
)
async def test_questions_are_answered_below_a_root_path(site: Any, path: str) -> None:
    answer = await site.client.get(f"/below/jobs{path}", root_path="/below")
    assert f'action="/below/jobs{path.partition("?")[0]}"' in await answer.get_data(as_text=True)
