"""``in_thread`` and ``Threads``: synchronous functions that may wait for the loop which sent them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from decant.bridge import Threads, bridged, can_wait, current_threads, detached, in_thread, thread_waits, wait
from decant.errors import Overloaded

Run = Callable[[Coroutine[Any, Any, Any]], Any]
variable: ContextVar[str] = ContextVar("variable", default="unset")


async def value(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def forever(seen: list[str]) -> None:
    """Say that somebody waits now, and do not end."""
    seen.append("waits")
    await asyncio.Event().wait()


@pytest.fixture
def one() -> Iterator[Threads]:
    """A pool of a single thread, with room for one queued call."""
    pool = Threads(1, max_queued=1, grace_s=0.1)
    yield pool
    pool.close()


def test_a_function_gets_arguments_and_returns_a_value(run: Run) -> None:
    """In another thread, with no loop of its own there."""

    def work(a: int, *, b: int) -> tuple[int, bool]:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return a + b, threading.current_thread() is threading.main_thread()

    assert run(in_thread(work, 1, b=2)) == (3, False)


@pytest.mark.parametrize("error", [KeyError("x"), StopIteration("x"), SystemExit(3), asyncio.CancelledError("x")])
def test_what_a_function_raises_is_raised_by_its_caller(run: Run, error: BaseException) -> None:
    """Also the exceptions that futures and coroutines treat specially (StopIteration: PEP 479)."""

    def work() -> None:
        raise error

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(expected) as caught:
        run(in_thread(work))
    assert caught.value is error or caught.value.__cause__ is error


def test_a_thread_waits_for_the_loop(run: Run) -> None:
    """Values and exceptions; the awaitable runs on the loop that sent the thread, and is bridged there."""

    async def on_loop() -> tuple[bool, Any]:
        return threading.current_thread() is threading.main_thread(), wait(value("bridged"))

    async def fail() -> None:
        raise KeyError("on the loop")

    def work() -> Any:
        assert can_wait()
        with pytest.raises(KeyError, match="on the loop") as caught:
            wait(fail())
        assert caught.value.__context__ is None
        with pytest.raises(TypeError, match="an awaitable is needed"):
            wait(1)  # type: ignore[arg-type]
        return wait(on_loop())

    assert run(in_thread(work)) == (True, "bridged")


def test_cancelling_what_a_thread_waits_for_is_an_exception_there(run: Run) -> None:
    """A task that somebody else cancels raises CancelledError in the thread, which may go on."""

    def work(task: asyncio.Task[None]) -> Any:
        with pytest.raises(asyncio.CancelledError):
            wait(task)
        return wait(value("went on"))

    async def main() -> Any:
        task = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        return await in_thread(work, task)

    assert run(main()) == "went on"


def test_context_variables_are_the_same_on_all_three_sides(run: Run) -> None:
    """Caller, thread, and what the thread waits for; a token of the one can be reset by the other."""

    async def reset_and_set(token: Any) -> Any:
        assert variable.get() == "thread"
        variable.reset(token)
        assert variable.get() == "caller"
        await asyncio.sleep(0)
        return variable.set("loop")

    def work() -> None:
        assert variable.get() == "caller"
        token = wait(reset_and_set(variable.set("thread")))
        assert variable.get() == "loop"
        variable.reset(token)
        assert variable.get() == "caller"
        variable.set("end")

    async def main() -> str:
        variable.set("caller")
        await in_thread(work)
        return variable.get()

    assert run(main()) == "end"


def test_a_context_entered_by_hand_is_the_one_of_the_wait(run: Run) -> None:
    """Context.run() in a thread: what is waited for sees its variables, and what it sets is seen after."""

    async def on_loop() -> str:
        seen = variable.get()
        variable.set("loop")
        return seen

    def entered() -> tuple[str, str]:
        variable.set("entered")
        return wait(on_loop()), variable.get()

    def work() -> tuple[Any, str]:
        variable.set("thread")
        return copy_context().run(entered), variable.get()

    assert run(in_thread(work)) == (("entered", "loop"), "thread")


def test_variables_of_a_cancelled_call_are_not_copied_back(run: Run) -> None:
    """A thread that may still run has no say any more."""

    def work() -> None:
        variable.set("thread")
        wait(asyncio.sleep(60))

    async def main() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await in_thread(work)
        return variable.get()

    assert run(main()) == "unset"


def test_nested_callbacks_run_on_the_thread_that_waits(run: Run, one: Threads) -> None:
    """With one thread in the pool, a chain of loop and thread four deep neither deadlocks nor takes a second thread."""

    def work(depth: int) -> set[int]:
        async def on_loop() -> set[int]:
            assert thread_waits()
            first = await in_thread(work, depth - 1)
            return first | await in_thread(work, depth - 1)

        return {threading.get_ident()} | (wait(on_loop()) if depth else set())

    async def main() -> set[int]:
        current_threads.set(one)
        assert not thread_waits()
        return await asyncio.wait_for(in_thread(work, 4), 60)

    assert len(run(main())) == 1


def test_children_of_what_a_thread_waits_for_use_that_thread(run: Run, one: Threads) -> None:
    """gather() of three functions with a pool of one thread ends; they run one after the other."""

    async def three() -> list[int]:
        return await asyncio.gather(*(in_thread(lambda number=number: number) for number in range(3)))

    async def main() -> list[int]:
        current_threads.set(one)
        return await asyncio.wait_for(in_thread(lambda: wait(three())), 60)

    assert run(main()) == [0, 1, 2]


def test_a_nested_callback_that_fails(run: Run, one: Threads) -> None:
    """Its exception passes through the loop and comes out of the thread's wait."""

    async def on_loop() -> None:
        await in_thread({}.__getitem__, "missing")

    def work() -> Any:
        with pytest.raises(KeyError, match="missing"):
            wait(on_loop())
        return wait(value("went on"))

    assert run(one.run(work)) == "went on"


def test_many_threads_and_waits_at_once(debug_run: Run) -> None:
    """200 functions that wait ten times each, in 20 threads, on a loop in debug mode."""
    pool = Threads(20)

    def work(number: int) -> int:
        return sum(wait(value(number)) for _ in range(10))

    async def main() -> list[int]:
        return await asyncio.wait_for(asyncio.gather(*(pool.run(work, number) for number in range(200))), 100)

    assert debug_run(main()) == [10 * number for number in range(200)]
    assert (pool.busy, pool.queued) == (0, 0)
    pool.close()


def test_the_pool_counts_and_bounds_its_calls(run: Run, one: Threads) -> None:
    """One works, one waits; the next is refused at once and says why."""

    async def main() -> None:
        gate = threading.Event()
        running = asyncio.create_task(one.run(gate.wait))
        await until(lambda: one.busy == 1)
        queued = asyncio.create_task(one.run(gate.wait))
        await until(lambda: one.queued == 1)
        with pytest.raises(Overloaded, match="1 calls already wait for one of 1 threads") as caught:
            await one.run(gate.wait)
        assert caught.value.retry_after_s == 1
        gate.set()
        await asyncio.gather(running, queued)
        assert (one.busy, one.queued) == (0, 0)
        assert await one.run(int, "7") == 7

    run(main())


def test_a_call_cancelled_in_the_queue_never_runs(run: Run, one: Threads) -> None:
    """And gives its place back."""
    ran: list[str] = []

    async def main() -> None:
        gate = threading.Event()
        running = asyncio.create_task(one.run(gate.wait))
        await until(lambda: one.busy == 1)
        queued = asyncio.create_task(one.run(ran.append, "queued"))
        await until(lambda: one.queued == 1)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        assert one.queued == 0
        gate.set()
        await running
        await one.run(ran.append, "next")

    run(main())
    assert ran == ["next"]


def test_closing_refuses_what_is_queued(run: Run, one: Threads) -> None:
    """The running function ends as usual, the queued caller is told, and nobody hangs."""
    started = threading.Event()

    def work(gate: threading.Event) -> bool:
        started.set()
        return gate.wait()

    async def main() -> None:
        gate = threading.Event()
        running = asyncio.create_task(one.run(work, gate))
        await until(started.is_set)  # a call counts as busy before its thread has begun with it
        queued = asyncio.create_task(one.run(int))
        await until(lambda: one.queued == 1)
        one.close()
        with pytest.raises(Overloaded, match="closed"):
            await asyncio.wait_for(queued, 60)
        gate.set()
        assert await running is True
        assert (one.busy, one.queued) == (0, 0)

    run(main())


def test_a_cancelled_thread_is_stopped_in_its_wait(run: Run, one: Threads) -> None:
    """The wait raises CancelledError once; clean-up may wait; the caller waits for all that."""
    seen: list[str] = []
    one.grace_s = 60

    def work() -> None:
        try:
            wait(forever(seen))
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            seen.append(wait(value("cleaned up")))

    async def main() -> None:
        task = asyncio.create_task(one.run(work))
        await until(lambda: seen == ["waits"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["waits", "cancelled", "cleaned up"]
        assert one.busy == 0

    run(main())


def test_a_second_cancellation_does_not_cut_the_clean_up_off(run: Run, one: Threads) -> None:
    """A timeout and then a client that goes away: the thread still has grace_s, and its clean-up may wait."""
    seen: list[str] = []
    one.grace_s = 60

    def work(cleaning: asyncio.Event, go: asyncio.Event) -> None:
        try:
            wait(forever(seen))
        finally:
            cleaning.set()
            wait(go.wait())
            seen.append(wait(value("cleaned up")))

    async def main() -> None:
        cleaning, go = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(one.run(work, cleaning, go))
        await until(lambda: seen == ["waits"])
        task.cancel()
        await until(cleaning.is_set)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (seen, one.busy, task.cancelling()) == (["waits", "cleaned up"], 0, 2)

    run(main())


def test_a_cancelled_thread_is_stopped_at_its_next_wait(run: Run, one: Threads) -> None:
    """It computes when the cancellation comes: the next wait raises, before anything is awaited."""
    awaited: list[str] = []
    one.grace_s = 60
    started = threading.Event()

    async def touch() -> None:
        awaited.append("touched")

    def work(gate: threading.Event) -> None:
        started.set()
        gate.wait()
        wait(touch())

    async def main() -> None:
        gate = threading.Event()
        task = asyncio.create_task(one.run(work, gate))
        await until(started.is_set)
        task.cancel()
        await asyncio.sleep(0.01)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert awaited == []


def test_a_cancellation_that_crosses_an_answer_is_not_lost(run: Run, one: Threads) -> None:
    """What the thread waits for ends in the very turn in which the caller is cancelled: its next wait raises."""
    awaited: list[str] = []
    one.grace_s = 60

    async def touch() -> None:
        awaited.append("touched")

    def work(future: asyncio.Future[str]) -> None:
        awaited.append(wait(future))
        wait(touch())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        task = asyncio.create_task(one.run(work, future))
        await until(lambda: bool(getattr(future, "_callbacks", None)))
        future.set_result("answered")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert "touched" not in awaited


def test_a_task_in_a_detached_context_never_runs_on_the_thread(run: Run, one: Threads) -> None:
    """A background task that a waiting thread's awaitable starts uses the pool, not the thread of its starter."""

    async def background() -> int:
        return await in_thread(threading.get_ident)

    async def on_loop() -> tuple[int, int]:
        inherited = asyncio.create_task(background())
        apart = asyncio.create_task(background(), context=detached())
        return await inherited, await apart

    async def main() -> tuple[int, tuple[int, int]]:
        return await one.run(lambda: (threading.get_ident(), wait(on_loop())))

    own, (inherited, apart) = run(main())
    assert inherited == own
    assert apart != own


def test_a_nested_callback_is_stopped_too(run: Run, one: Threads) -> None:
    """Cancelling the request ends a wait two levels down, through loop, thread and loop."""
    seen: list[str] = []

    def inner() -> None:
        try:
            wait(forever(seen))
        finally:
            seen.append("inner")

    async def on_loop() -> None:
        try:
            await one.run(inner)
        finally:
            seen.append("loop")

    def outer() -> None:
        try:
            wait(on_loop())
        finally:
            seen.append("outer")

    async def main() -> None:
        task = asyncio.create_task(one.run(outer))
        await until(lambda: seen == ["waits"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert one.busy == 0

    one.grace_s = 60
    run(main())
    assert seen == ["waits", "inner", "loop", "outer"]


def test_a_thread_that_does_not_stop_is_abandoned(run: Run, one: Threads, caplog: pytest.LogCaptureFixture) -> None:
    """After grace_s its caller goes on; each of its later waits raises; it keeps its slot until it ends."""
    outcomes: list[type[BaseException] | None] = []
    started = threading.Event()

    def work(gate: threading.Event) -> None:
        started.set()
        gate.wait()
        for _ in range(3):
            try:
                wait(value(1))
                outcomes.append(None)
            except asyncio.CancelledError as error:
                outcomes.append(type(error))

    async def main() -> None:
        gate = threading.Event()
        task = asyncio.create_task(one.run(work, gate))
        await until(started.is_set)
        task.cancel()
        with caplog.at_level(logging.WARNING, "decant.bridge"), pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)
        assert one.busy == 1
        gate.set()
        await until(lambda: one.busy == 0)

    run(main())
    assert outcomes == [asyncio.CancelledError] * 3
    assert "did not stop within 0.1 s" in caplog.text


def test_a_pool_that_may_not_wait_says_so(run: Run) -> None:
    """may_wait=False: the function runs and sees variables; a wait raises and closes the coroutine."""
    pool = Threads(1, may_wait=False)

    def work() -> str:
        assert not can_wait()
        with pytest.raises(RuntimeError, match="may_wait=False"):
            wait(value(1))
        seen = variable.get()
        variable.set("hashed")
        return seen

    async def main() -> tuple[str, str]:
        variable.set("caller")
        return await pool.run(work), variable.get()

    assert run(main()) == ("caller", "hashed")
    pool.close()


def test_a_pool_that_may_not_wait_never_takes_the_waiting_thread(run: Run, one: Threads) -> None:
    """Hashing that a view asks for runs in the hashing pool, not on the view's thread."""
    hashing = Threads(1, may_wait=False)

    def work() -> tuple[int, int]:
        return threading.get_ident(), wait(hashing.run(threading.get_ident))

    first, second = run(one.run(work))
    assert first != second
    hashing.close()


def test_the_current_pool_is_a_context_variable(run: Run, one: Threads) -> None:
    """in_thread() uses the application's pool where one is set."""

    async def main() -> tuple[int, int]:
        current_threads.set(one)
        return await in_thread(lambda: (one.busy, one.queued))

    assert run(main()) == (1, 0)


def test_a_loop_of_its_own_in_a_thread_is_not_the_bridges(run: Run) -> None:
    """Old code that calls asyncio.run() in a handler works, and wait() on that loop is refused, not sent astray."""

    async def own() -> str:
        coroutine = value(1)
        with pytest.raises(RuntimeError, match="outside the bridge"):
            wait(coroutine)
        return await bridged(own_bridged())

    async def own_bridged() -> str:
        return wait(value("own loop"))

    def work() -> tuple[str, str]:
        return asyncio.run(own()), wait(value("owner's loop"))

    assert run(in_thread(work)) == ("own loop", "owner's loop")


def test_a_loop_closed_while_a_thread_waits_ends_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    """The thread gets a RuntimeError, within about a second, instead of hanging at exit."""
    pool, errors, ended = Threads(1), [], threading.Event()
    loop = asyncio.new_event_loop()
    waiting = threading.Event()

    def work() -> None:
        async def never() -> None:
            waiting.set()
            await loop.create_future()

        try:
            wait(never())
        except RuntimeError as error:
            errors.append(str(error))
        try:
            wait(value(1))
        except RuntimeError as error:
            errors.append(str(error))
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(pool.run(work))
        kept.append(task)
        await until(waiting.is_set)

    kept: list[asyncio.Task[None]] = []
    loop.run_until_complete(main())
    tasks = asyncio.all_tasks(loop)
    loop.close()
    assert ended.wait(60)
    pool.close()
    assert errors[0] == "the event loop was closed while a thread waited for it"
    assert "closed" in errors[1]
    for task in tasks:  # nobody is left to end them
        task._log_destroy_pending = False  # type: ignore[attr-defined]
