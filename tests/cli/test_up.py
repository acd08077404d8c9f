"""``decant up``: everything starts, is told of, and stops together, however it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.cli.toys import Project, Running, Start, gone, wait_until

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def environment(servers: Any) -> dict[str, str]:
    """The servers of the test session, which spares the start of embedded ones."""
    return {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
    return text


def processes_in(data_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(data_dir) in " ".join(process.cmdline()) or Path(process.cwd()).is_relative_to(data_dir):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_it_serves_with_embedded_servers_and_ctrl_c_stops_all_in_order(project: Project, start: Start) -> None:
    running = start("up", "--bind", "127.0.0.1:0")
    given = json.loads(get(running.url()))
    assert given["DATABASE_URL"].startswith("postgresql://")
    assert given["REDIS_URL"].startswith("redis://")
    assert given["DATA_DIR"] == str(project.root / ".data")
    running.expect(r"^worker +\| worker started$")
    running.expect(r'^web +\| .*"GET / 1\.1" 200')
    children = running.children()
    running.signal(signal.SIGINT)
    assert running.ends() == 0
    assert all(gone(child) for child in children)
    assert processes_in(project.root / ".data") == []
    assert running.lines.index("decant  | stopping") < running.lines.index("worker  | worker shut down")
    assert "Traceback" not in running.output


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_nothing_is_left_after_it_was_killed(project: Project, start: Start) -> None:
    running = start("up", "--bind", "127.0.0.1:0", "--data", "elsewhere")
    running.url()
    children = running.children()
    assert len(children) == 2
    assert processes_in(project.root / "elsewhere")
    running.process.kill()
    wait_until(lambda: all(gone(child) for child in children))
    wait_until(lambda: not processes_in(project.root / "elsewhere"))


@pytest.fixture
def each(tmp_path: Path, start: Start, environment: dict[str, str]) -> Callable[..., Running]:
    """Start the command in a project of its own, so that several run at the same time."""

    def begin(name: str, toy: str | None = None) -> Running:
        folder = tmp_path / name
        folder.mkdir()
        project = Project(folder)
        if toy is not None:
            project.write("toy.py", toy)
        return start("up", "--bind", "127.0.0.1:0", cwd=folder, **environment)

    return begin


def test_other_ways_to_ask_stop_it_too(each: Callable[..., Running]) -> None:
    started = {number: each(number.name) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, running in started.items():
        running.url()
        running.signal(number)
    assert {number.name: running.ends() for number, running in started.items()} == {"SIGTERM": 0, "SIGHUP": 0}


def test_servers_that_the_environment_names_are_used(
    project: Project, start: Start, environment: dict[str, str]
) -> None:
    running = start("up", "--bind", "127.0.0.1:0", **environment)
    assert json.loads(get(running.url())) == environment | {"DATA_DIR": str(project.root / ".data")}
    running.expect("DATABASE_URL is set: no embedded server")
    assert not (project.root / ".data").exists()


def test_the_projects_hypercorn_toml_is_used(project: Project, start: Start, environment: dict[str, str]) -> None:
    """And what it does not say, as whether there is an access log, is Hypercorn's default."""
    project.write("hypercorn.toml", "include_server_header = false\nbind = '192.0.2.1:80'\n")
    running = start("up", "--bind", "127.0.0.1:0", **environment)
    with urllib.request.urlopen(running.url(), timeout=30) as response:
        assert "server" not in response.headers
    running.signal(signal.SIGINT)
    assert running.ends() == 0
    assert "GET / 1.1" not in running.output


def test_the_death_of_a_child_stops_the_rest(each: Callable[..., Running]) -> None:
    started = {name: each(name) for name in ("hypercorn", "worker")}
    for name, running in started.items():
        running.url()
        children = running.children()
        running.child(name).kill()
        title = {"hypercorn": "web"}.get(name, name)
        running.expect(rf"^decant +\| {title} was killed by SIGKILL: stopping the rest$")
        assert running.ends() == 1, name
        assert all(gone(child) for child in children), name


def test_the_death_of_an_embedded_server_stops_the_rest(
    project: Project, start: Start, environment: dict[str, str]
) -> None:
    running = start("up", "--bind", "127.0.0.1:0", DATABASE_URL=environment["DATABASE_URL"])
    running.url()
    for process in processes_in(project.root / ".data"):
        if "valkey" in process.name():
            process.kill()
    running.expect(r"^decant +\| the embedded Valkey has ended: it ended with status -9$")
    assert running.ends() == 1


def test_a_web_process_that_cannot_start_is_told_of(
    project: Project, start: Start, environment: dict[str, str]
) -> None:
    """And its own words come before."""
    project.write("toy.py", "import os, sys\nif 'hypercorn' in sys.argv[0]: raise SystemExit('no luck')\napp = print\n")
    running = start("up", "--bind", "127.0.0.1:0", **environment)
    assert running.ends() == 1
    assert "web     | no luck" in running.lines
    assert "decant  | web ended with status 1: stopping the rest" in running.lines
    assert "http://" not in running.output


def test_a_failing_migration_stops_the_start(each: Callable[..., Running]) -> None:
    told = {
        "raise RuntimeError('broken')": "RuntimeError: broken",
        "other = 1": "app 'toy:app': toy has no 'app'",
        "app = 7": "app 'toy:app' is no ASGI application but 7",
        "def app(config=None): ...": "is a function that makes the application: write 'toy:app()'",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)": "migrate was killed by SIGKILL",
    }
    started = {text: each(f"project {number}", text) for number, text in enumerate(told)}
    for text, running in started.items():
        assert running.ends() == 1, text
        assert told[text] in running.output
        assert running.lines[-1].startswith("decant  | the migrations failed: migrate ")
        assert "web  " not in running.output


DATABASE_APP = """
    import os
    from decant import Quart
    from decant.database import SQLAlchemy

    app = Quart(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db = SQLAlchemy(app)
"""
MIGRATION = """
    from alembic import op

    revision, down_revision, branch_labels, depends_on = "0001", None, None, None

    def upgrade():
        op.execute("CREATE TABLE made AS SELECT 7 AS number")
"""


@pytest.fixture
def migrated(project: Project, environment: dict[str, str], database_url: str) -> dict[str, str]:
    """The environment of a project with a database of its own and one migration."""
    own = environment | {"DATABASE_URL": database_url}
    project.write("toy.py", DATABASE_APP)
    subprocess.run(
        [sys.executable, "-m", "quart", "--app", "toy:app", "db", "init"],
        cwd=project.root,
        env=os.environ | own,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=90,
    )
    project.write("migrations/versions/0001.py", MIGRATION)
    return own


def test_the_database_is_migrated_before_anything_is_served(
    project: Project, start: Start, migrated: dict[str, str]
) -> None:
    running = start("up", "--bind", "127.0.0.1:0", **migrated)
    running.expect(r"^migrate \| Running upgrade  -> 0001")
    running.url()
    with psycopg.connect(migrated["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT number FROM made").fetchone() == (7,)


def test_a_migration_that_fails_is_told_of(project: Project, start: Start, migrated: dict[str, str]) -> None:
    project.write("migrations/versions/0001.py", MIGRATION.replace("7 AS number", "1 / 0 AS number"))
    running = start("up", "--bind", "127.0.0.1:0", **migrated)
    assert running.ends() == 1
    assert "division by zero" in running.output
    assert running.lines[-1] == "decant  | the migrations failed: migrate ended with status 1"
    assert "web  " not in running.output


def test_a_taken_port_is_told_in_one_line_before_anything_starts(project: Project, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = start("up", "--bind", f"127.0.0.1:{port}")
        assert running.ends() == 1
    [line] = running.lines
    assert line.startswith(f"decant: port {port} of 127.0.0.1 is taken")
    assert not (project.root / ".data").exists()


def test_two_at_once_cannot_have_the_same_port(project: Project, start: Start, environment: dict[str, str]) -> None:
    """Also while the first has it without listening yet."""
    project.write(
        "toy.py",
        """
        import sys, time
        from quart import Quart

        time.sleep(1 if "hypercorn" in sys.argv[0] else 0)
        app = Quart(__name__)
        """,
    )
    first = start("up", "--bind", "127.0.0.1:0", **environment)
    first.expect("nothing to migrate")
    [port] = [
        end.laddr.port
        for end in psutil.Process(first.process.pid).net_connections("inet")
        if end.laddr and end.laddr.ip == "127.0.0.1" and not end.raddr
    ] or [int(first.url().rpartition(":")[2])]
    second = start("up", "--bind", f"127.0.0.1:{port}", **environment)
    assert second.ends() == 1
    assert "is taken" in second.output


def test_an_address_of_another_machine_is_refused(project: Project, start: Start) -> None:
    running = start("up", "--bind", "192.0.2.1:8000")
    assert running.ends() == 1
    assert running.output.startswith("decant: 192.0.2.1 is no address of this machine")


def test_a_second_ctrl_c_ends_at_once(project: Project, start: Start, environment: dict[str, str]) -> None:
    """Here the web process never stops by itself."""
    project.write(
        "toy.py",
        """
        import asyncio
        from quart import Quart

        app = Quart(__name__)

        @app.after_serving
        async def never():
            print("hanging", flush=True)
            await asyncio.sleep(60)
        """,
    )
    running = start("up", "--bind", "127.0.0.1:0", **environment)
    running.url()
    children = running.children()
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        running.signal(number)  # two at the same time, sent on by a wrapper: the same Ctrl-C
    running.expect(r"^web +\| hanging$")
    time.sleep(0.3)
    assert running.process.poll() is None
    running.signal(signal.SIGINT)
    assert running.ends(timeout_s=20) == 130
    wait_until(lambda: all(gone(child) for child in children))


def test_ctrl_c_during_the_start_stops_it(project: Project, start: Start, environment: dict[str, str]) -> None:
    project.write("toy.py", "import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    running = start("up", "--bind", "127.0.0.1:0", **environment)
    running.expect(r"^migrate +\| loading$")
    running.signal(signal.SIGINT)
    assert running.ends(timeout_s=30) == 0


def test_long_and_odd_output_comes_through(project: Project, start: Start, environment: dict[str, str]) -> None:
    project.write(
        "toy.py",
        """
        import sys
        sys.stdout.buffer.write(b"x" * 200_000 + b"\\nbad \\xff byte\\nno newline")
        raise SystemExit(1)
        """,
    )
    running = start("up", "--bind", "127.0.0.1:0", PYTHONIOENCODING="ascii", **environment)
    assert running.ends() == 1
    long_lines = [line for line in running.lines if set(line.partition("| ")[2]) == {"x"}]
    assert sum(line.count("x") for line in long_lines) % 200_000 == 0
    assert "migrate | bad \\ufffd byte" in running.lines
    assert "migrate | no newline" in running.lines[running.lines.index("migrate | bad \\ufffd byte") + 1]


def test_a_reader_that_goes_away_stops_it(project: Project, environment: dict[str, str]) -> None:
    """As in ``decant up | head``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "decant.cli", "up", "--bind", "127.0.0.1:0"],
        cwd=project.root,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.wait(90) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("no_color", ["", "1"])
def test_names_are_coloured_on_a_terminal(project: Project, environment: dict[str, str], no_color: str) -> None:
    project.write("toy.py", "raise SystemExit(3)")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "decant.cli", "up", "--bind", "127.0.0.1:0"],
        cwd=project.root,
        env=os.environ | environment | {"NO_COLOR": no_color},
        stdout=theirs,
    )
    os.close(theirs)
    assert process.wait(90) == 1
    output = os.read(ours, 65536)
    os.close(ours)
    assert (b"\033[1mdecant  |\033[0m " in output) == (not no_color)


def test_running_is_a_helper_that_fails_loudly(project: Project, start: Start) -> None:
    running: Running = start("up", "--nope")
    assert running.ends() == 2
    with pytest.raises(AssertionError, match="No such option"):
        running.expect("never", timeout_s=0.1)
