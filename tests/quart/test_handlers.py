"""Where handlers run, and what happens when there are more of them than threads."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from decant import Quart, wait
from decant.bridge import Threads, current_threads, in_thread
from decant.errors import ConfigError, DatabaseUnavailable, Overloaded
from decant.quart import current_app, g, on_loop, request


def decorated(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of the Flask kind: it knows nothing of coroutines."""

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


async def test_a_sync_view_runs_in_a_thread_where_it_may_wait(app: Quart) -> None:
    """A synchronous view blocks a thread of the application's, not the loop; it may wait; it sees its request."""

    @app.get("/<name>")
    def view(name: str) -> str:
        g.seen = wait(asyncio.sleep(0, threading.current_thread() is not threading.main_thread()))
        return f"{name} {request.path} {g.seen} {threading.current_thread() is threading.main_thread()}"

    response = await app.test_client().get("/x")
    assert await response.get_data(as_text=True) == "x /x True False"


async def test_the_pool_has_the_configured_size(app: Quart) -> None:
    """SYNC_WORKERS views run at once, and no more; what waits is counted."""
    app.config["SYNC_WORKERS"] = 3
    running, most = 0, 0
    lock, go, three = threading.Lock(), threading.Event(), threading.Event()

    @app.get("/")
    def view() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                three.set()
        go.wait(60)
        with lock:
            running -= 1
        return ""

    client = app.test_client()
    calls = [asyncio.create_task(client.get("/")) for _ in range(9)]
    assert await asyncio.to_thread(three.wait, 60)  # a call counts before its thread has begun with it
    while app.threads.queued < 6:
        await asyncio.sleep(0.005)
    assert (app.threads.busy, app.threads.queued) == (3, 6)
    go.set()
    await asyncio.gather(*calls)
    assert most == 3


async def test_views_on_the_loop_share_its_thread_and_wait(app: Quart) -> None:
    """SYNC_HANDLERS = "loop" runs synchronous views on the loop, where wait() lets the others run."""
    app.config["SYNC_HANDLERS"] = "loop"
    here, met = threading.get_ident(), asyncio.Event()

    @app.get("/first")
    def first() -> str:
        wait(asyncio.wait_for(met.wait(), 60))
        return str(threading.get_ident() == here)

    @app.get("/second")
    def second() -> str:
        met.set()
        return str(threading.get_ident() == here)

    client = app.test_client()
    answers = await asyncio.gather(client.get("/first"), client.get("/second"))
    assert [await answer.get_data(as_text=True) for answer in answers] == ["True", "True"]


@pytest.mark.parametrize("order", ["innermost", "outermost"])
async def test_a_view_marked_on_loop_runs_there(app: Quart, order: str) -> None:
    """@on_loop works below and above other decorators."""
    here = threading.get_ident()

    def view() -> str:
        return str(wait(asyncio.sleep(0, threading.get_ident() == here)))

    app.get("/")(decorated(on_loop(view)) if order == "innermost" else on_loop(decorated(view)))
    response = await app.test_client().get("/")
    assert await response.get_data() == b"True"


async def test_a_sync_decorator_around_an_async_view_is_awaited(app: Quart) -> None:
    """As Flask-Login's login_required makes them: a plain function that returns a coroutine; ensure_sync included."""

    @app.get("/")
    @decorated
    async def view() -> str:
        return "awaited"

    def required(inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def wrapper() -> Any:
            return current_app.ensure_sync(inner)()  # type: ignore[attr-defined]

        return wrapper

    @app.get("/login")
    @required
    async def login() -> str:
        return "logged in"

    client = app.test_client()
    assert await (await client.get("/")).get_data() == b"awaited"
    assert await (await client.get("/login")).get_data() == b"logged in"


async def test_in_thread_uses_the_applications_pool(app: Quart) -> None:
    """in_thread() in a request does not go to a pool of somebody else's."""

    @app.get("/")
    async def view() -> str:
        assert current_threads.get() is app.threads
        return await in_thread(lambda: "from a thread")

    assert await (await app.test_client().get("/")).get_data() == b"from a thread"


async def test_without_a_queue_idle_threads_serve(app: Quart) -> None:
    """SYNC_MAX_QUEUED = 0: one request for each thread, and 503 for one more; its teardown hooks run nevertheless."""
    app.config.update(SYNC_WORKERS=2, SYNC_MAX_QUEUED=0)
    go, torn_down = threading.Event(), []

    @app.get("/")
    def view() -> str:
        go.wait(60)
        return "served"

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        torn_down.append(error)

    client = app.test_client()
    working = [asyncio.create_task(client.get("/")) for _ in range(2)]
    async with asyncio.timeout(60):
        while app.threads.busy < 2:
            await asyncio.sleep(0.001)
    assert (await client.get("/")).status_code == 503
    assert len(torn_down) == 1
    go.set()
    assert [(await task).status_code for task in working] == [200, 200]
    assert (await client.get("/")).status_code == 200


async def test_a_full_queue_is_answered_with_503(app: Quart) -> None:
    """More than SYNC_MAX_QUEUED waiting calls: 503 at once, with Retry-After; those who wait are served."""
    app.config.update(SYNC_WORKERS=1, SYNC_MAX_QUEUED=1)
    go = threading.Event()

    @app.get("/")
    def view() -> str:
        go.wait(60)
        return "served"

    client = app.test_client()
    waiting = [asyncio.create_task(client.get("/")) for _ in range(2)]
    while app.threads.queued < 1:
        await asyncio.sleep(0.005)
    refused = await client.get("/")
    go.set()
    served = [response.status_code for response in await asyncio.gather(*waiting)]
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert served == [200, 200]


async def test_teardown_hooks_run_though_the_queue_is_full(app: Quart) -> None:
    """A request that is refused for want of threads still gives back what it holds."""
    app.config.update(SYNC_WORKERS=1, SYNC_MAX_QUEUED=1)
    go, torn_down = threading.Event(), []

    @app.get("/")
    def view() -> str:
        go.wait(60)
        return ""

    @app.teardown_request
    def give_back(error: BaseException | None) -> None:
        torn_down.append(request.path)

    @app.get("/refused")
    def refused() -> str:
        return ""

    client = app.test_client()
    waiting = [asyncio.create_task(client.get("/")) for _ in range(2)]
    while app.threads.queued < 1:
        await asyncio.sleep(0.005)
    assert (await client.get("/refused")).status_code == 503
    assert torn_down == ["/refused"]
    go.set()
    await asyncio.gather(*waiting)


async def test_a_server_that_is_down_is_answered_with_503(app: Quart) -> None:
    """Unavailable, wherever it is raised, is 503 with Retry-After and goes through the handlers of HTTP errors."""

    @app.get("/")
    async def view() -> str:
        raise DatabaseUnavailable("gone", retry_after_s=7)

    @app.errorhandler(503)
    async def page(error: Any) -> tuple[str, int, dict[str, str]]:
        return f"sorry: {error.__cause__}", 503, {"Retry-After": error.get_headers()[-1][1]}

    response = await app.test_client().get("/")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert await response.get_data() == b"sorry: gone"


async def test_a_session_store_that_is_down_is_answered_with_503(app: Quart) -> None:
    """Before any view: the session cannot be opened."""

    class Broken(type(app.session_interface)):  # type: ignore[misc]
        async def open_session(self, *args: Any) -> Any:
            raise DatabaseUnavailable("gone")

    app.session_interface = Broken()
    response = await app.test_client().get("/")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


async def test_a_handler_of_its_own_goes_before_503(app: Quart) -> None:
    """errorhandler(Overloaded) answers as it likes."""

    @app.get("/")
    async def view() -> str:
        raise Overloaded("full")

    @app.errorhandler(Overloaded)
    def busy(error: Overloaded) -> tuple[str, int]:
        return "later", 429

    assert (await app.test_client().get("/")).status_code == 429


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SYNC_WORKERS", 0),
        ("SYNC_WORKERS", "40"),
        ("SYNC_MAX_QUEUED", -1),
        ("SYNC_HANDLERS", "pool"),
        ("TEARDOWN_TIMEOUT", None),
    ],
)
async def test_a_wrong_value_stops_the_start(app: Quart, key: str, value: object) -> None:
    """The error names the key, the value and what is allowed."""
    app.config[key] = value
    with pytest.raises(ConfigError, match=f"{key} = {value!r} is not valid: "):
        await app.startup()


async def test_the_pool_is_in_the_metrics(app: Quart) -> None:
    """Threads, busy threads and queued calls are gauges with the application's name."""
    prometheus = pytest.importorskip("prometheus_client")
    app.config["SYNC_WORKERS"] = 2
    go = threading.Event()

    @app.get("/")
    def view() -> str:
        go.wait(60)
        return ""

    def value(name: str) -> float | None:
        found: float | None = prometheus.REGISTRY.get_sample_value(name, {"app": app.name})
        return found

    async with app.test_app() as started:
        calls = [asyncio.create_task(started.test_client().get("/")) for _ in range(3)]
        while not app.threads.queued:
            await asyncio.sleep(0.005)
        names = [f"decant_sync_{name}" for name in ("threads", "threads_busy", "queued")]
        seen = await asyncio.to_thread(lambda: [value(name) for name in names])
        go.set()
        await asyncio.gather(*calls)
    assert seen == [2, 2, 1]


async def test_forty_blocking_views_run_at_once_by_default(app: Quart) -> None:
    """Each of 80 waits until 40 are there, which fewer threads would never be; the machine's cores do not matter."""
    together = threading.Barrier(40, timeout=60)

    @app.get("/")
    def view() -> str:
        together.wait()
        return "met"

    client = app.test_client()
    answers = await asyncio.gather(*(client.get("/") for _ in range(80)))
    assert [answer.text for answer in answers] == ["met"] * 80


def test_the_pool_is_the_applications_own() -> None:
    """Two applications do not take each other's threads."""
    first, second = Quart(__name__), Quart(__name__)
    assert isinstance(first.threads, Threads)
    assert first.threads is first.threads is not second.threads
