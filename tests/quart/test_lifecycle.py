"""Start, background tasks, stop."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from decant import Quart, wait
from decant.quart import current_app, g


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought eager tasks")
async def test_an_eager_task_factory_is_refused_at_start(app: Quart) -> None:
    """It would run a task's first step in its parent's bridge: the start fails, and says what to do."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        with pytest.raises(RuntimeError, match="set_task_factory"):
            await app.startup()
    finally:
        loop.set_task_factory(None)


async def test_what_runs_around_serving_may_wait(app: Quart) -> None:
    """before_serving, before_first_request, while_serving, after_serving: sync and async, in the bridge."""
    events: list[Any] = []

    @app.before_first_request
    def first() -> None:
        events.append(wait(asyncio.sleep(0, current_app.name)))

    @app.before_serving
    async def before() -> None:
        events.append(wait(asyncio.sleep(0, "before")))

    @app.while_serving
    async def around() -> Any:
        events.append(wait(asyncio.sleep(0, "up")))
        yield
        events.append(wait(asyncio.sleep(0, "down")))

    @app.after_serving
    def after() -> None:
        events.append(wait(asyncio.sleep(0, "after")))

    async with app.test_app():
        pass
    assert events == [app.name, "before", "up", "down", "after"]


@pytest.mark.parametrize("view_kind", ["sync", "async"])
@pytest.mark.parametrize("task_kind", ["sync", "async"])
async def test_background_tasks_start_from_any_view(app: Quart, view_kind: str, task_kind: str) -> None:
    """Also from a view in a thread; they have a context of their own, may wait, and outlive the response."""
    seen: list[Any] = []
    go = asyncio.Event()

    def sync_task(value: int, *, word: str) -> None:
        wait(go.wait())
        seen.append((value, word, current_app.name, hasattr(g, "x")))

    async def async_task(value: int, *, word: str) -> None:
        wait(go.wait())
        seen.append((value, word, current_app.name, hasattr(g, "x")))

    task = sync_task if task_kind == "sync" else async_task

    def sync_view() -> str:
        g.x = 1
        current_app.add_background_task(task, 1, word="a")
        return "started"

    async def async_view() -> str:
        return sync_view()

    app.add_url_rule("/", view_func=sync_view if view_kind == "sync" else async_view)
    async with app.test_app() as started:
        await started.test_client().get("/")
        assert (seen, len(app.background_tasks)) == ([], 1)
        go.set()
    assert seen == [(1, "a", app.name, False)]


async def test_a_background_task_does_not_hold_up_the_view_that_started_it(app: Quart) -> None:
    """A view in a thread that waits after it started a synchronous task: the task runs on another thread."""
    go = asyncio.Event()
    ended = []

    def task() -> None:
        wait(go.wait())
        ended.append("task")

    @app.get("/")
    def view() -> str:
        async def start() -> None:
            current_app.add_background_task(task)

        wait(start())
        wait(asyncio.sleep(0.02))
        ended.append("view")
        return ""

    async with app.test_app() as started:
        await asyncio.wait_for(started.test_client().get("/"), 60)
        go.set()
    assert ended == ["view", "task"]


async def test_shutdown_drains_tasks_and_cancels_what_takes_too_long(app: Quart) -> None:
    """Tasks that tasks start are waited for; the deadline is BACKGROUND_TASK_SHUTDOWN_TIMEOUT."""
    app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = 0.5
    events: list[str] = []

    async def child() -> None:
        await asyncio.sleep(0)
        events.append("child")

    async def parent() -> None:
        await asyncio.sleep(0)
        app.add_background_task(child)

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cancelled")

    async with app.test_app():
        app.add_background_task(parent)
        app.add_background_task(endless)
    assert events == ["child", "cancelled"]
    assert not app.background_tasks


async def test_an_error_in_a_background_task_is_reported(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and signalled, and harms nothing else."""
    from quart.signals import got_background_exception

    errors = []

    async def fail() -> None:
        raise LookupError("no")

    def note(sender: object, exception: Exception) -> None:
        errors.append(exception)

    with got_background_exception.connected_to(note, app):
        async with app.test_app():
            app.add_background_task(fail)
    assert [str(error) for error in errors] == ["no"]


async def test_the_test_request_context_needs_no_path(app: Quart) -> None:
    """As Flask's: the path is / unless given, and a mapping as data is a form."""
    from decant.quart import request

    async with app.test_request_context():
        assert request.path == "/"
    async with app.test_request_context("/x", method="POST", data={"a": "1"}):
        assert (request.path, (await request.form)["a"]) == ("/x", "1")


@pytest.mark.parametrize(("compat", "scheme", "reloads"), [(True, "https", True), (False, "http", False)])
async def test_configuration_is_read_as_flask_reads_it(app: Quart, compat: bool, scheme: str, reloads: bool) -> None:
    """PREFERRED_URL_SCHEME outside a request, and templates that are reloaded in debug mode (FLASK_COMPAT)."""
    app.config.update(FLASK_COMPAT=compat, SERVER_NAME="example.org", PREFERRED_URL_SCHEME="https", DEBUG=True)
    app.add_url_rule("/x", "x")
    async with app.app_context():
        assert app.url_for("x") == f"{scheme}://example.org/x"
    assert bool(app.jinja_env.auto_reload) is reloads
