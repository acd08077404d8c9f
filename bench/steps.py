"""The example in each of its steps, on one core: Gunicorn, the shim, half of it mounted, on the loop; and as it ends.

    python bench/steps.py [--clients 64] [--seconds 6] [--rounds 3] [--only NAME]...

The implementations are those of ``make contract``, which makes their environments: the same command lines, Gunicorn
with one process of 100 threads. Four requests that users send most: the redirect of a short link (64 links in turn;
each visit is counted), the front page, the page of one's links with 20 of them, and the same by the API. All four are
among those that step 1 has moved. Requests per second, the latency that 99 of 100 do not exceed, and the CPU time of
the web process per request. The processes are pinned to one core; the clients, PostgreSQL and Valkey, which it starts,
have the others.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, this file's folder comes first, and its files would be taken for packages of their names.
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != ROOT / "bench")]

import psutil  # noqa: E402
import psycopg  # noqa: E402
from redis import Redis  # noqa: E402

from bench.figures import Figures, cpu_s, server_on  # noqa: E402
from bench.servers import Postgres, Valkey  # noqa: E402
from tests.contract.cases import World  # noqa: E402
from tests.contract.implementations import IMPLEMENTATIONS  # noqa: E402
from tests.contract.running import Implementation, Running  # noqa: E402
from tests.contract.visitor import Visitor  # noqa: E402

LINKS = 64
WARM_UP_S = 2.0
LIMITS = ("RATE_REGISTER", "RATE_LINKS", "RATE_API", "RATE_API_REFUSED", "RATE_LOGIN_ADDRESS")


NAMES = tuple(each.name for each in IMPLEMENTATIONS)


@dataclass(frozen=True)
class Request:
    """What is asked for again and again, and what it is answered with."""

    name: str
    paths: Sequence[str]
    status: int


REQUESTS = (
    Request("redirect", [f"/link-{number}" for number in range(LINKS)], 302),
    Request("front page", ["/"], 200),
    Request("page of links", ["/links"], 200),
    Request("API", ["/api/v1/links"], 200),
)


async def load(server: psutil.Process, visitor: Visitor, request: Request, clients: int, seconds: float) -> Figures:
    """Let that many clients ask, each as soon as it has its answer; the first seconds do not count."""
    figures, paths = Figures(seconds), cycle(request.paths)
    begin = time.perf_counter() + WARM_UP_S
    end = begin + seconds

    async def client() -> None:
        while (since := time.perf_counter()) < end:
            try:
                served = (await visitor.get(next(paths))).status == request.status
            except (OSError, TimeoutError):
                served = False
            if begin <= time.perf_counter() < end:
                if served:
                    figures.took.append(time.perf_counter() - since)
                else:
                    figures.errors += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
        await asyncio.sleep(begin - time.perf_counter())
        before = cpu_s(server)
        await asyncio.sleep(end - time.perf_counter())
        figures.cpu_s = cpu_s(server) - before
    return figures


async def visit(running: Running, clients: int, seconds: float) -> dict[str, Figures]:
    """Somebody with 64 links, a program with a token of theirs, and somebody who only looks."""
    server = server_on(urlsplit(running.url).port or 0)
    async with AsyncExitStack() as stack:
        world = World(running, stack)
        owner, guest = await world.user(), world.visitor()
        program = await world.program(owner)
        for number in range(LINKS):
            await program.link(f"link-{number}")
        who = {"page of links": owner, "API": program}
        return {each.name: await load(server, who.get(each.name, guest), each, clients, seconds) for each in REQUESTS}


def measure(
    implementation: Implementation, given: argparse.Namespace, database_url: str, redis_url: str
) -> dict[str, Figures]:
    """With an empty database and an empty Redis; the processes are started on the last core alone."""
    cores = os.sched_getaffinity(0)
    with TemporaryDirectory() as logs, psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS steps WITH (FORCE)")
        connection.execute("CREATE DATABASE steps")
        with Redis.from_url(redis_url) as client:
            client.flushall()
        base, _, query = database_url.partition("?")
        url = f"{base.rpartition('/')[0]}/steps" + (f"?{query}" if query else "")
        settings = {
            **dict.fromkeys(LIMITS, "1000000 per minute"),
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "DATABASE_POOL_SIZE": "40",
        }
        running = Running(implementation, settings, Path(logs))
        try:
            os.sched_setaffinity(0, {max(cores)})
            running.start()
            os.sched_setaffinity(0, cores - {max(cores)} or cores)
            return asyncio.run(visit(running, given.clients, given.seconds))
        finally:
            os.sched_setaffinity(0, cores)
            running.stop()


def rounds(given: argparse.Namespace, database_url: str, redis_url: str) -> None:
    best: dict[tuple[str, str], Figures] = {}
    wanted = [each for each in IMPLEMENTATIONS if each.name in (given.only or NAMES)]
    for number in range(given.rounds):
        for implementation in wanted:
            if reason := implementation.missing():
                raise SystemExit(reason)
            for name, figures in measure(implementation, given, database_url, redis_url).items():
                print(f"  round {number + 1}: {implementation.name}, {name}: {figures}", file=sys.stderr, flush=True)
                key = (name, implementation.name)
                best[key] = max(best.get(key, figures), figures, key=lambda each: len(each.took))
    for request in REQUESTS:
        first = best[request.name, wanted[0].name]
        for implementation in wanted:
            figures = best[request.name, implementation.name]
            ratio = len(figures.took) / max(1, len(first.took))
            print(f"{request.name:<14} {implementation.name:<8} {figures}  {ratio:5.2f} of {wanted[0].name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64, help="requests at once (1 to 1,000)")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured, for each step and request (1 to 600)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts, the least disturbed (1 to 20)")
    parser.add_argument("--only", action="append", choices=NAMES, help="this implementation (again for more)")
    given = parser.parse_args()
    for name, low, high in (("clients", 1, 1_000), ("seconds", 1, 600), ("rounds", 1, 20)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        os.sched_setaffinity(0, (all_cores := os.sched_getaffinity(0)) - {max(all_cores)} or all_cores)
        postgres, valkey = Postgres(folder, durable=False), Valkey(folder)
        stack.callback(postgres.close)
        stack.callback(valkey.stop)
        postgres.start()
        valkey.start()
        os.sched_setaffinity(0, all_cores)
        rounds(given, postgres.url, valkey.url)


if __name__ == "__main__":
    main()
