"""Flask-Executor's interface, in synchronous views of Quart, of decant.Quart and of Flask, directly and by its face."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import Future, as_completed
from concurrent.futures import wait as wait_for_all
from typing import Any

import flask
import pytest
import quart

from decant import wait
from decant.errors import ConfigError
from decant.executor import Executor, ExecutorJob, FutureCollection, propagate_exceptions_callback, push_app_context

from .conftest import Site

parity = pytest.mark.parity


def double(number: int) -> int:
    return 2 * number


@parity("executor", "submit(fn,*a,**k) -> FutureProxy")
def test_a_job_sees_application_request_session_and_a_copy_of_g(site: Site) -> None:
    """What it sets in g is its own."""
    lib = site.lib
    seen: dict[str, Any] = {}

    def job(number: int, *, add: int) -> int:
        seen.update(name=lib.current_app.name, q=lib.request.args["q"], user=lib.session["user"], g=lib.g.value)
        seen["thread"] = threading.current_thread()
        lib.g.value = "the job's"
        return number + add

    def view() -> Any:
        lib.g.value, lib.session["user"] = "the view's", 7
        future = site.executor.submit(job, 1, add=2)
        assert isinstance(future, Future)
        return future.result(60), lib.g.value, threading.current_thread()

    result, value, thread = site.visit(view)
    assert (result, value) == (3, "the view's")
    assert seen.pop("thread") is not thread
    assert seen == {"name": site.app.name, "q": "1", "user": 7, "g": "the view's"}


@parity("executor", "submit(fn,*a,**k) -> FutureProxy")
def test_a_job_outlives_its_request(site: Site) -> None:
    """It still has the request when the response has long been sent."""
    ended, told = threading.Event(), threading.Event()

    def job() -> str:
        told.wait(60)
        path = str(site.lib.request.path)
        ended.set()
        return path

    if site.is_quart:

        async def main() -> Any:
            futures: list[Any] = []
            site._work = lambda: futures.append(site.executor.submit(job))
            await site.app.test_client().get("/visit")
            told.set()
            return await futures[0]

        assert asyncio.run(main()) == "/visit"
    else:
        future = site.visit(lambda: site.executor.submit(job))
        told.set()
        assert future.result(60) == "/visit"
    assert ended.is_set()


def test_jobs_may_be_coroutine_functions_and_may_wait(site: Site) -> None:
    """Both have the context; a coroutine that a plain function returns is awaited."""
    lib = site.lib

    async def later() -> str:
        await asyncio.sleep(0)
        return str(lib.request.path)

    assert site.visit(lambda: site.executor.submit(later).result(60)) == "/visit"
    assert site.visit(lambda: site.executor.submit(lambda: later()).result(60)) == "/visit"
    assert site.visit(lambda: site.executor.submit(lambda: wait(later())).result(60)) == "/visit"


def test_without_a_request_or_a_context_a_job_has_the_application(site: Site) -> None:
    """With one application nobody has to say which."""
    name = site.executor.submit(lambda: site.lib.current_app.name).result(60)
    assert name == site.app.name
    assert site.executor.submit(site.lib.has_request_context).result(60) is False


@parity("executor", "submit_stored(key, fn,*a,**k)")
@parity("executor", "futures FutureCollection(max_length=50): add(key,f) pop(key) __contains__ __len__, any Future…")
def test_stored_futures_are_found_by_their_key(site: Site) -> None:
    """Every method and attribute of a future by key, None for an unknown key, ValueError for one that is there."""
    executor, calls = site.executor, []

    def view() -> Any:
        future = executor.submit_stored("a", double, 4)
        assert future.result(60) == 8
        return future

    future = site.visit(view)
    assert future in executor.futures
    assert len(executor.futures) == 1
    assert executor.futures.done("a") is True
    assert executor.futures.result("a", timeout=1) == 8
    assert executor.futures._state("a") == "FINISHED"
    assert executor.futures.done("b") is None
    with pytest.raises(ValueError, match="future_key a already exists"):
        executor.submit_stored("a", calls.append, 1)
    assert calls == []
    assert executor.futures.pop("a") == future
    assert executor.futures.pop("a") is None
    assert future not in executor.futures
    assert future in {future}


@parity("executor", "futures FutureCollection(max_length=50): add(key,f) pop(key) __contains__ __len__, any Future…")
def test_a_collection_drops_its_oldest() -> None:
    """At most max_length are kept."""
    kept = FutureCollection(max_length=2)
    assert FutureCollection().max_length == 50
    futures: list[Future[int]] = [Future() for _ in range(3)]
    for number, future in enumerate(futures):
        kept.add(number, future)
    assert [future in kept for future in futures] == [False, True, True]
    with pytest.raises(AttributeError, match="no_such"):
        kept.no_such(1)


@parity("executor", "map(fn,*iterables, timeout=, chunksize=)")
def test_map_gives_results_in_order(site: Site) -> None:
    """Of several iterables, to the end of the shortest; each call has the context."""
    lib = site.lib

    def add(one: int, two: int) -> tuple[int, str]:
        return one + two, lib.request.path

    got = site.visit(lambda: list(site.executor.map(add, range(100), range(50), chunksize=7)))
    assert got == [(2 * number, "/visit") for number in range(50)]
    assert site.visit(lambda: list(site.executor.map(add, [], []))) == []


@parity("executor", "map(fn,*iterables, timeout=, chunksize=)")
def test_map_ends_with_an_error_or_with_its_time(site: Site) -> None:
    """The call's own error; TimeoutError when the results are not there in time."""
    release = threading.Event()

    def failing(number: int) -> int:
        return 6 // (2 - number)

    def view() -> list[Any]:
        got: list[Any] = []
        try:
            got.extend([next(results := site.executor.map(failing, range(9))), next(results), next(results)])
        except ZeroDivisionError:
            got.append(list(results))
        return got

    assert site.visit(view) == [[]]
    results = site.executor.map(lambda _: release.wait(60), range(3), timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    release.set()


@parity("executor", "@job -> ExecutorJob: .submit .submit_stored .map; TypeError with process pool")
def test_a_decorated_function_submits_itself(site: Site) -> None:
    """And is not called directly."""
    job = site.executor.job(double)
    assert isinstance(job, ExecutorJob)
    assert not callable(job)
    assert site.visit(lambda: job.submit(2).result(60)) == 4
    assert site.visit(lambda: list(job.map([1, 2]))) == [2, 4]
    assert site.visit(lambda: job.submit_stored("kept", 3).result(60)) == 6
    assert site.executor.futures.result("kept") == 6


@parity("executor", "@job -> ExecutorJob: .submit .submit_stored .map; TypeError with process pool")
def test_an_executor_with_processes_decorates_nothing(make_site: Callable[..., Site]) -> None:
    """Neither a function decorated before the configuration was known."""
    executor = Executor()
    early = executor.job(double)
    site = make_site(EXECUTOR_TYPE="process")
    with pytest.raises(TypeError, match="Can't decorate"):
        site.executor.job(double)
    app = quart_app(EXECUTOR_TYPE="process")
    executor.init_app(app)
    for call in (early.submit, early.map, lambda: early.submit_stored("key")):
        with pytest.raises(TypeError, match="multiprocessing"):
            call()


def quart_app(**config: Any) -> quart.Quart:
    app = quart.Quart(__name__)
    app.config.update(config)
    return app


@parity("executor", "add_default_done_callback(fn)")
@parity("executor", "FutureProxy: Future API, add_done_callback runs with context; ==/hash of inner")
def test_callbacks_run_with_the_context_in_a_thread(site: Site) -> None:
    """Of the default ones, too; coroutine functions are called back as well."""
    lib, called, ended = site.lib, [], threading.Semaphore(0)

    def callback(future: Any) -> None:
        called.append((lib.request.path, future.result(), lib.g.value, asyncio._get_running_loop()))
        ended.release()

    async def later(future: Any) -> None:
        await asyncio.sleep(0)
        called.append((lib.request.path, await future, lib.g.value, None))
        ended.release()

    site.executor.add_default_done_callback(callback)

    def view() -> None:
        lib.g.value = 5
        future = site.executor.submit(double, 4)
        future.add_done_callback(later)
        future.add_done_callback(callback)
        assert [ended.acquire(timeout=60) for _ in range(3)] == [True] * 3

    site.visit(view)
    assert called == [("/visit", 8, 5, None)] * 3


def test_a_callback_that_raises_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Others are called."""
    ended = threading.Event()

    def wrong(_: Any) -> None:
        raise LookupError("in a callback")

    future = site.executor.submit(double, 1)
    future.add_done_callback(wrong)
    future.add_done_callback(lambda _: ended.set())
    assert ended.wait(60)
    site.executor.shutdown()
    assert "in a callback" in caplog.text


@parity("executor", "EXECUTOR_PROPAGATE_EXCEPTIONS")
@pytest.mark.parametrize("kind", ["quart", "flask"])
def test_exceptions_are_propagated_to_the_log(
    make_site: Callable[..., Site], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By a callback that raises what the job raised."""
    site = make_site(kind, EXECUTOR_PROPAGATE_EXCEPTIONS="yes")
    gc.collect()
    caplog.clear()  # of what earlier tests have left
    assert isinstance(site.executor.submit(lambda: {}["gone"]).exception(60), KeyError)
    site.executor.shutdown()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]
    done: Future[int] = Future()
    done.set_exception(KeyError("raised"))
    with pytest.raises(KeyError, match="raised"):
        propagate_exceptions_callback(done)


def test_the_standard_librarys_functions_take_the_futures(site: Site) -> None:
    """wait and as_completed."""
    futures = [site.executor.submit(double, number) for number in range(4)]
    assert sorted(future.result() for future in as_completed(futures, 60)) == [0, 2, 4, 6]
    assert len(wait_for_all(futures, 60).done) == 4


@parity("executor", "shutdown(wait) and any attr of the pool by proxy (_max_workers, _shutdown)…")
def test_after_the_shutdown_nothing_is_taken(make_site: Callable[..., Site]) -> None:
    """shutdown waits for what there is; with cancel_futures queued jobs are cancelled."""
    site, release = make_site("flask", EXECUTOR_MAX_WORKERS="1"), threading.Event()
    assert site.executor._max_workers == 1
    assert site.executor._shutdown is False
    running, queued = site.executor.submit(release.wait, 60), site.executor.submit(double, 1)
    site.executor.shutdown(wait=False, cancel_futures=True)
    assert queued.cancelled()
    release.set()
    site.executor.shutdown()
    assert running.done()
    assert running.result() is True
    assert site.executor._shutdown is True
    with pytest.raises(RuntimeError, match="after its shutdown"):
        site.executor.submit(double, 1)


def test_with_closes_the_executor(make_site: Callable[..., Site]) -> None:
    """As any executor of the standard library."""
    with make_site("flask").executor as executor:
        future = executor.submit(double, 3)
    assert future.done()
    assert future.result() == 6


@parity("executor", 'Executor(app=None, name="")')
@parity("executor", "init_app(app)")
@pytest.mark.parametrize("kind", ["quart", "flask"])
def test_executors_have_names_and_keys_of_their_own(make_site: Callable[..., Site], kind: str) -> None:
    """The prefix of a name; the extension's key; one of each name."""
    site = make_site(kind, CPU_EXECUTOR_MAX_WORKERS=3, EXECUTOR_MAX_WORKERS=2)
    cpu = Executor(site.app, name="cpu")
    assert site.app.extensions["executor"] is site.executor
    assert site.app.extensions["cpuexecutor"] is cpu
    assert (cpu._max_workers, site.executor._max_workers) == (3, 2)
    assert site.app.config["CPU_EXECUTOR_TYPE"] == "thread"
    with pytest.raises(RuntimeError, match="another name than 'cpu'"):
        Executor(site.app, name="cpu")
    with pytest.raises(ValueError, match="letters, numbers or underscores"):
        Executor(name="no good")


@parity("executor", "init_app(app)")
@parity("executor", "EXECUTOR_TYPE")
@parity("executor", "EXECUTOR_MAX_WORKERS")
@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("EXECUTOR_TYPE", "fibre", "fibre is not a valid executor type"),
        ("EXECUTOR_MAX_WORKERS", "many", "an integer, at least 1"),
        ("EXECUTOR_MAX_WORKERS", 0, "an integer, at least 1"),
        ("EXECUTOR_MAX_WORKERS", True, "an integer, at least 1"),
        ("EXECUTOR_MAX_PENDING", -1, "an integer, at least 0"),
        ("EXECUTOR_FUTURES_MAX_LENGTH", 2.5, "an integer, at least 1"),
        ("EXECUTOR_PROPAGATE_EXCEPTIONS", "perhaps", "True or False"),
        ("EXECUTOR_SHUTDOWN_TIMEOUT", "soon", "a number of seconds"),
        ("EXECUTOR_SHUTDOWN_TIMEOUT", float("nan"), "a number of seconds"),
    ],
)
def test_a_wrong_value_stops_the_start(key: str, value: object, text: str) -> None:
    """With the key, the value and what is allowed; it is a ValueError, as Flask-Executor's."""
    with pytest.raises(ValueError, match=text) as caught:
        Executor(quart_app(**{key: value}))
    assert isinstance(caught.value, ConfigError)
    assert (caught.value.key, str(caught.value.value)) == (key, str(value))


@parity("executor", "EXECUTOR_FUTURES_MAX_LENGTH")
def test_texts_are_converted(make_site: Callable[..., Site]) -> None:
    """As they come from the environment."""
    site = make_site("flask", EXECUTOR_FUTURES_MAX_LENGTH="2", EXECUTOR_MAX_WORKERS="2")
    for key in range(3):
        site.executor.submit_stored(key, double, key).result(60)
    assert len(site.executor.futures) == 2
    assert site.executor.futures.done(0) is None


@parity("executor", "EXECUTOR_PUSH_APP_CONTEXT")
@pytest.mark.parametrize("kind", ["quart", "decant", "flask"])
def test_g_is_not_copied_without_push_app_context(make_site: Callable[..., Site], kind: str) -> None:
    """The job has the request and an empty g."""
    site = make_site(kind, EXECUTOR_PUSH_APP_CONTEXT="false")
    lib = site.lib

    def view() -> Any:
        lib.g.value = 1
        return site.executor.submit(lambda: (lib.request.path, "value" in lib.g)).result(60)

    assert site.visit(view) == ("/visit", False)


def test_one_executor_serves_several_applications(make_site: Callable[..., Site]) -> None:
    """The context says which is meant; without one nobody can know."""
    executor = Executor()
    with pytest.raises(RuntimeError, match="init_app"):
        executor.submit(double, 1)
    one, two = flask.Flask("one"), flask.Flask("two")
    executor.init_app(one)
    executor.init_app(two)
    for app in (one, two):
        with app.app_context():
            assert executor.submit(lambda: flask.current_app.name).result(60) == app.name
            executor.shutdown()
    with pytest.raises(RuntimeError, match="several applications"):
        executor.submit(double, 1)


def test_what_is_no_function_is_refused(site: Site) -> None:
    """At once, where the mistake is."""
    with pytest.raises(TypeError, match="a function is needed, not int"):
        site.executor.submit(3)


def test_push_app_context_wraps_a_function(make_site: Callable[..., Site]) -> None:
    """In the context's application, with a copy of g; to be awaited in Quart."""
    app = flask.Flask("other")
    with app.app_context():
        flask.g.value = 3
        wrapped = push_app_context(lambda: (flask.current_app.name, flask.g.value))
    assert wrapped() == ("other", 3)
    app_of_quart = make_site("quart").app

    async def main() -> Any:
        async with app_of_quart.app_context():
            quart.g.value = 4
            wrapped = push_app_context(lambda: quart.g.value)
        return await wrapped()

    assert asyncio.run(main()) == 4
