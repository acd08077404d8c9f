"""``wait`` where no loop runs: scripts, shells, other people's threads, forked children."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import textwrap
import threading
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from decant.bridge import bridged, can_wait, in_thread, wait

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def value(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


async def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_values_and_exceptions() -> None:
    """As in a bridge; what is waited for is bridged itself, and may send functions to threads."""

    async def fail() -> None:
        raise KeyError("x")

    async def nested() -> Any:
        return wait(value(1)) + await in_thread(lambda: wait(value(2)))

    assert can_wait()
    assert wait(nested()) == 3
    with pytest.raises(KeyError) as caught:
        wait(fail())
    assert caught.value.__context__ is None


def test_one_loop_serves_every_call() -> None:
    """So that what belongs to a loop, such as a pool of connections, lives on; its tasks go on at the next wait."""

    async def start() -> asyncio.Task[str]:
        return asyncio.create_task(value("went on"))

    async def join(task: asyncio.Task[str]) -> str:
        return await task

    assert wait(loop()) is wait(loop())
    assert wait(join(wait(start()))) == "went on"


def test_each_thread_has_its_own() -> None:
    """Two threads never share a loop."""
    loops = [wait(loop())]
    thread = threading.Thread(target=lambda: loops.append(wait(loop())))
    thread.start()
    thread.join()
    assert loops[0] is not loops[1]
    assert loops[1].is_closed()


def test_context_variables_are_the_same_on_both_sides() -> None:
    """Set, seen and reset on either, so that a context pushed by one wait can be popped by another."""

    async def push() -> Any:
        return variable.set("pushed")

    async def pop(token: Any) -> None:
        variable.reset(token)

    def scenario() -> None:
        token = wait(push())
        assert variable.get() == "pushed"
        wait(pop(token))
        assert variable.get() == "unset"

    thread = threading.Thread(target=scenario)
    thread.start()
    thread.join()
    scenario()


def test_in_an_entered_context_variables_are_copied() -> None:
    """Inside Context.run() Python allows no second use of it: values are seen and set, tokens are not shared."""

    async def seen_and_set() -> str:
        seen = variable.get()
        variable.set("loop")
        return seen

    def scenario() -> tuple[str, str]:
        variable.set("script")
        return wait(seen_and_set()), variable.get()

    assert copy_context().run(scenario) == ("script", "loop")
    assert variable.get() == "unset"


def test_on_a_plain_running_loop_wait_is_refused() -> None:
    """A second loop is never run inside the first."""
    coroutine = value(1)

    async def main() -> None:
        assert not can_wait()
        with pytest.raises(RuntimeError, match="outside the bridge"):
            wait(coroutine)

    asyncio.run(main())
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert asyncio.run(bridged(value(2))) == 2


# The development mode warns of callbacks that take 0.1 s, as any may on a busy machine.
QUIET = """
import logging
logging.getLogger("asyncio").setLevel(logging.ERROR)
"""


def script(source: str) -> subprocess.CompletedProcess[str]:
    """Run it in an interpreter of its own, in which every warning is an error that is printed."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", QUIET + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_loop_is_closed_at_exit() -> None:
    """A script that waits ends without a word: ResourceWarning would be printed here."""
    ended = script("""
        import asyncio
        from decant.bridge import wait
        print(wait(asyncio.sleep(0, "value")))
    """)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("value\n", "", 0)


def test_an_unended_generator_and_task_are_ended_at_exit() -> None:
    """As asyncio.run() does it: their finally blocks run."""
    ended = script("""
        import asyncio
        from decant.bridge import wait

        async def generator():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                print("generator closed")

        async def endless():
            try:
                await asyncio.sleep(60)
            finally:
                print("task cancelled")

        async def start():
            global steps, task
            steps, task = generator(), asyncio.create_task(endless())
            await asyncio.sleep(0)
            return await anext(steps)

        print(wait(start()))
    """)
    assert (ended.stdout.split("\n"), ended.stderr) == (["1", "task cancelled", "generator closed", ""], "")


def test_short_lived_threads_leave_no_loop_open() -> None:
    """100 threads that wait once each: no warning, no descriptor and no thread is left."""
    ended = script("""
        import asyncio, gc, os, threading
        from decant.bridge import wait

        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        def work():
            assert wait(asyncio.sleep(0, 1)) == 1

        def many():
            for _ in range(10):
                threads = [threading.Thread(target=work) for _ in range(10)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()

        many()
        before = descriptors()
        many()
        gc.collect()
        assert descriptors() <= before, (before, descriptors())
        assert threading.active_count() == 1, threading.enumerate()
    """)
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_a_forked_child_has_a_loop_of_its_own_and_leaves_its_parents_alone() -> None:
    """The child waits, runs threads and exits in the ordinary way; the parent's loop is woken as before."""
    ended = script("""
        import asyncio, gc, os, socket, sys, threading, time, warnings
        from decant.bridge import in_thread, wait

        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        async def reader():
            asyncio.get_running_loop().add_reader(ours, lambda: answers.append(ours.recv(10)))
            await asyncio.sleep(0)
            return id(asyncio.get_running_loop())

        async def wakes():
            loop, event = asyncio.get_running_loop(), asyncio.Event()
            timer = threading.Timer(0.01, loop.call_soon_threadsafe, [event.set])
            timer.start()
            started = time.monotonic()
            await asyncio.wait_for(event.wait(), 50)
            assert time.monotonic() - started < 40, "nobody woke the loop before its own time limit did"
            timer.join()

        async def answered():
            async with asyncio.timeout(50):
                while not answers:
                    await asyncio.sleep(0.001)

        async def sum_in_thread():
            return await in_thread(lambda: wait(asyncio.sleep(0, 1)) + 1)

        answers, parent = [], os.getpid()
        first = wait(reader())
        assert wait(sum_in_thread()) == 2
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, which is what is tested
        child = os.fork()
        if child == 0:
            warnings.simplefilter("ignore", ResourceWarning)  # the child's copies of its parent's sockets
            assert wait(asyncio.sleep(0, "child")) == "child"
            assert wait(sum_in_thread()) == 2
            gc.collect()
            sys.exit(7)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 7, status
        theirs.send(b"answer")
        wait(answered())
        assert answers == [b"answer"]
        wait(wakes())
        print("parent goes on")
        ours.close(); theirs.close()
    """)
    assert (ended.stdout, ended.stderr) == ("parent goes on\n", "")
