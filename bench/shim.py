"""One Flask application on one core, 500 clients: under Gunicorn, with threads and with gevent, and under the shim.

    python bench/shim.py [--clients 500] [--seconds 8] [--rounds 3] [--pool 160] [--only NAME]...

Three views: 50 ms and 500 ms in the database (``SELECT pg_sleep(…)`` by Flask-SQLAlchemy), and one that does nothing.
In threads the application has psycopg's own blocking driver, on the loop its asynchronous one. Requests per
second, the latency that 99 of 100 requests do not exceed, and the CPU time of the server per request, user and
system, which a busy machine disturbs least. The server's processes are pinned to one core; the clients and PostgreSQL,
which it starts, have the others. Gunicorn comes from a virtual environment that the script makes below
``$XDG_CACHE_HOME/decant/bench`` or ``~/.cache/decant/bench``, with the Flask and the SQLAlchemy of this environment,
psycopg2, gevent and psycogreen.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, this file's folder comes first, and its files would be taken for packages of their names.
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != ROOT / "bench")]

import psutil  # noqa: E402

from bench.figures import Figures, cpu_s  # noqa: E402
from bench.servers import Postgres, free_port, wait_until  # noqa: E402

SAME = ("flask", "werkzeug", "flask-sqlalchemy", "sqlalchemy", "gunicorn")
OTHERS = ("packaging>=24", "psycopg2-binary>=2.9.10,<3", "gevent>=25", "psycogreen==1.0.2")
POST_FORK = "from psycogreen.gevent import patch_psycopg\n\n\ndef post_fork(server, worker):\n    patch_psycopg()\n"
WARM_UP_S = 60.0
NAMES = ("gunicorn, 40 threads", "gunicorn, gevent", "shim, threads", "shim, loop")
VIEWS = ("/database/50", "/database/500", "/nothing")


class _Client(asyncio.Protocol):
    """Asks again as soon as it has its answer, on one connection."""

    def __init__(self, head: bytes, figures: Figures, counts: asyncio.Event) -> None:
        self.head, self.figures, self.counts = head, figures, counts
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.since, self.received = time.perf_counter(), b""
        self.transport.write(self.head)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.startswith(b"HTTP/1.1 200") and not self.received.endswith(b"done"):
            return
        if not self.received.startswith(b"HTTP/1.1 200"):
            self.figures.errors += self.counts.is_set()
            self.transport.close()
            return
        if self.counts.is_set():
            self.figures.took.append(time.perf_counter() - self.since)
        else:
            self.figures.warm += 1
        self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


async def _client(port: int, head: bytes, figures: Figures, counts: asyncio.Event) -> None:
    while True:
        try:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Client(head, figures, counts), "127.0.0.1", port
            )
            await client.closed  # the server may end a connection after so many requests
        except OSError:
            figures.errors += counts.is_set()
            await asyncio.sleep(0.05)


async def load(server: psutil.Process, port: int, path: str, clients: int, seconds: float) -> Figures:
    """Let that many clients ask for ``path``; the first requests, at least two of each client, do not count."""
    figures, counts = Figures(seconds), asyncio.Event()
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    tasks = [asyncio.create_task(_client(port, head, figures, counts)) for _ in range(clients)]
    deadline = time.monotonic() + WARM_UP_S
    while figures.warm < 2 * clients and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    before = cpu_s(server)
    counts.set()
    await asyncio.sleep(seconds)
    counts.clear()
    figures.cpu_s = cpu_s(server) - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


def environment() -> Path:
    """The ``bin`` of Gunicorn's virtual environment, made if it is not there."""
    wanted = [*(f"{name}=={version(name)}" for name in SAME), *OTHERS]
    key = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "decant", "bench")
    folder = cache / f"gunicorn-{key}"
    if not (folder / "ready").exists():
        print(f"making {folder}")
        venv.create(folder, clear=True, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True, timeout=600)
        (folder / "ready").touch()
    return folder / "bin"


def command(name: str, port: int, folder: Path) -> list[str]:
    """What starts that server."""
    if name.startswith("shim"):
        return [sys.executable, str(ROOT / "bench" / "shim_app.py"), name.partition(", ")[2], str(port)]
    conf = folder / "gunicorn_gevent.py"
    conf.write_text(POST_FORK)
    kind = ["gevent", "--config", str(conf)] if "gevent" in name else ["gthread", "--threads", "40"]
    options = ["--workers", "1", "--worker-connections", "1000", "--keep-alive", "60", "--timeout", "120"]
    bind = ["--bind", f"127.0.0.1:{port}", "--backlog", "1024", "--log-level", "warning", "--no-control-socket"]
    return [str(environment() / "gunicorn"), "--worker-class", *kind, *options, *bind, "shim_app:app"]


@contextmanager
def serving(
    name: str, database_url: str, pool: int, folder: Path, core: int | None
) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    settings = {**os.environ, "DATABASE_URL": database_url, "POOL_SIZE": str(pool), "PYTHONPATH": str(ROOT / "bench")}
    if name.startswith("shim"):
        settings["PYTHONPATH"] = str(ROOT / "src")
    else:  # what gevent's patch is for; SQLAlchemy 2.1 would take psycopg 3
        settings["DATABASE_URL"] = database_url.replace("postgresql://", "postgresql+psycopg2://", 1)

    def pinned() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    process = subprocess.Popen(command(name, port, folder), env=settings, cwd=folder, preexec_fn=pinned)

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in psutil.net_connections("tcp"))

    try:
        wait_until(answers, f"the start of {name}")
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(given: argparse.Namespace, folder: Path, database_url: str) -> None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    core = cores[-1] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[:-1]))
    print(f"{given.clients} clients, the server on {'one core' if core is not None else 'any core'}, pool {given.pool}")
    best: dict[tuple[str, int, str], Figures] = {}
    for number in range(given.rounds):
        for name in given.only or NAMES:
            for path in VIEWS:
                clients = min(given.clients, 32) if path == "/nothing" else given.clients
                with serving(name, database_url, given.pool, folder, core) as (server, port):
                    figures = asyncio.run(load(server, port, path, clients, given.seconds))
                print(f"  round {number + 1}: {name}, {path}: {figures}", file=sys.stderr, flush=True)
                key = (path, clients, name)
                best[key] = max(best.get(key, figures), figures, key=lambda each: len(each.took))
    for (path, clients, name), figures in sorted(best.items()):
        print(f"{path:<14} {clients:>4} clients  {name:<22} {figures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500, help="connections at once (1 to 2,000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured, for each server and view (1 to 600)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts, the least disturbed (1 to 20)")
    parser.add_argument("--pool", type=int, default=160, help="database connections of each server (1 to 180)")
    parser.add_argument("--only", action="append", choices=NAMES, help="this server (again for more)")
    given = parser.parse_args()
    for name, low, high in (("clients", 1, 2_000), ("seconds", 1, 600), ("rounds", 1, 20), ("pool", 1, 180)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        postgres = Postgres(folder, durable=False)
        stack.callback(postgres.close)
        postgres.start()
        measure(given, folder, postgres.url)


if __name__ == "__main__":
    main()
