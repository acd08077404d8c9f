"""``decant routes``: every rule, who answers it, and what is left to move."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from decant.cli import main

Call = Callable[..., tuple[int, list[str]]]
FLASK = """
import flask
from decant.flask import blocking

theirs = flask.Flask("theirs", static_folder=None)

@theirs.route("/login", methods=["GET", "POST"])
def login():
    return ""

@theirs.get("/report/<int:number>")
@blocking
def report(number):
    return ""

@theirs.get("/<slug>")
def follow(slug):
    return ""
"""
MOUNTED = (
    FLASK
    + """
from decant import Quart
from decant.flask import mount
from decant.quart import on_loop

app = Quart("ours", static_folder=None)
app.secret_key = "for tests"

@app.get("/<name>")
async def follow(name):
    return ""

@app.get("/login")
def login():
    return ""

@app.post("/quick")
@on_loop
def quick():
    return ""

@app.websocket("/live")
async def live():
    pass

mounted = mount(app, theirs, views="loop")
"""
)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """``call(source, "app", *options)``: its status, and the lines of both streams."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = f"routes_{uuid.uuid4().hex}"

    def run(source: str, name: str, *options: str) -> tuple[int, list[str]]:
        (tmp_path / f"{module}.py").write_text(source)
        with pytest.raises(SystemExit) as ended:
            main(["routes", f"{module}:{name}" if name else module, *options])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), (captured.out + captured.err).replace(module, "legacy").splitlines()

    yield run
    sys.modules.pop(module, None)


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell for cell in line.split("  ") if cell.strip()] for line in lines]


def table(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in cells(lines)]


def test_a_mounted_application(call: Call) -> None:
    """What Quart has as well is not Flask's any more, method by method."""
    status, lines = call(MOUNTED, "app")
    assert status == 0
    assert table(lines) == [
        ["methods", "rule", "endpoint", "half", "place"],
        ["GET", "/<name>", "follow", "quart", "loop"],
        ["GET", "/<slug>", "follow", "flask, hidden by quart", "loop"],
        ["WEBSOCKET", "/live", "live", "quart", "loop"],
        ["GET", "/login", "login", "quart", "thread"],
        ["POST", "/login", "login", "flask", "loop"],
        ["POST", "/quick", "quick", "quart", "loop"],
        ["GET", "/report/<int:number>", "report", "flask", "thread"],
        ["2 of 6 routes still answered by Flask"],
    ]


def test_the_object_that_mount_returns_is_a_target_too(call: Call) -> None:
    assert call(MOUNTED, "mounted") == call(MOUNTED, "app")


def test_below_a_prefix(call: Call) -> None:
    source = MOUNTED.replace('views="loop"', 'at="/old"') + '\n@app.get("/old/x")\nasync def never():\n    return ""\n'
    status, lines = call(source, "app")
    assert status == 0
    rows = {row[1]: row for row in table(lines)[1:-1]}
    assert rows["/old/<slug>"] == ["GET", "/old/<slug>", "follow", "flask", "thread"]
    assert rows["/old/x"][3] == "quart, hidden by flask"
    assert lines[-1] == "3 of 7 routes still answered by Flask"


@pytest.mark.parametrize(("views", "places"), [("threads", ["thread"] * 3), ("loop", ["loop", "loop", "thread"])])
def test_a_flask_application(call: Call, views: str, places: list[str]) -> None:
    status, lines = call(FLASK, "theirs", "--views", views)
    assert (status, lines[-1]) == (0, "3 of 3 routes still answered by Flask")
    assert [row[-1] for row in table(lines)[1:-1]] == places


def test_with_faces_the_originals_are_not_imported(tmp_path: Path) -> None:
    """So that the routes can be listed where only the faces are installed."""
    source = "import flask\nfrom celery import Celery\napp = flask.Flask('legacy', static_folder=None)\n"
    (tmp_path / "legacy.py").write_text(source + "app.get('/', endpoint=Celery.__module__)(str)\n")
    command = [sys.executable, "-m", "decant.cli", "routes", "--faces", "legacy:app"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "decant." in done.stdout.splitlines()[1]


def test_a_quart_application(call: Call) -> None:
    source = (
        'from quart import Quart\ndef make(name):\n    app = Quart(name)\n    app.get("/")(index)\n    return app\n'
    )
    source += "async def index():\n    return ''\n"
    status, lines = call(source, "make('x')")
    assert (status, lines[-1]) == (0, "0 of 2 routes still answered by Flask")


def test_a_flask_application_in_the_shim(call: Call) -> None:
    source = FLASK + '\nfrom decant.flask import asgi\napp = asgi(theirs, views="loop")\n'
    status, lines = call(source, "app")
    assert [status, *(row[-1] for row in table(lines)[1:-1])] == [0, "loop", "loop", "thread"]


def test_json(call: Call) -> None:
    status, lines = call(MOUNTED, "app", "--json")
    found = json.loads("\n".join(lines))
    assert (status, found["flask"], found["total"], found["requests"]) == (0, 2, 6, None)
    assert found["routes"][1] == {
        "rule": "/<slug>",
        "methods": ["GET"],
        "endpoint": "follow",
        "half": "flask",
        "place": "loop",
        "hidden": True,
        "hits": None,
    }


PAGE = rb"""# HELP decant_requests_total Requests and WebSockets, by who answered
# TYPE decant_requests_total counter
decant_requests_total{endpoint="follow",half="quart",method="GET"} 900.0
decant_requests_total{endpoint="follow",half="quart",method="HEAD"} 1.0
decant_requests_total{endpoint="login",half="flask",method="POST"} 1.2e+01
decant_requests_total{endpoint="login",half="quart",method="GET"} 40.0
decant_requests_total{endpoint="a\"b\\c",half="flask",method="GET"} 3.0
decant_requests_total{endpoint="unrouted",half="flask",method="OTHER"} 7.0
decant_other_total{endpoint="login",half="flask",method="POST"} 99.0
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        token = self.headers.get("Authorization")
        status = {"/metrics": 200, "/moved": 302}.get(self.path, 200 if token == "Bearer secret" else 401)
        self.send_response(status)
        self.send_header("Location", "/metrics")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def page() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_with_the_counts_of_the_running_application(call: Call, page: str) -> None:
    """Of several processes: added."""
    status, lines = call(MOUNTED, "app", "--metrics", f"{page}/metrics", "--metrics", f"{page}/metrics")
    assert status == 0
    hits = {(row[0], row[1], row[3]): row[5] for row in table(lines)[1:-2]}
    assert hits["GET", "/<name>", "quart"] == "1802"
    assert hits["POST", "/login", "flask"] == "24"
    assert hits["GET", "/login", "quart"] == "80"
    assert hits["GET", "/report/<int:number>", "flask"] == "0"
    assert lines[-2:] == [
        "44 of 1926 requests were answered by Flask",
        "2 of 6 routes still answered by Flask",
    ]


def test_a_page_that_wants_a_token(call: Call, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = call(MOUNTED, "app", "--metrics", f"{page}/private")
    assert (status, lines) == (1, [f"decant: --metrics {page}/private answered 401 Unauthorized: give --token"])
    assert call(MOUNTED, "app", "--metrics", f"{page}/private", "--token", "secret")[0] == 0
    monkeypatch.setenv("DECANT_METRICS_TOKEN", "secret")
    assert call(MOUNTED, "app", "--metrics", f"{page}/private")[0] == 0


@pytest.mark.parametrize(
    ("source", "name", "options", "message"),
    [
        ("", "app", [], "decant: TARGET 'legacy:app': legacy has no 'app'"),
        (
            "app = 7",
            "app",
            [],
            "decant: TARGET 'legacy:app': it is 7, neither a Flask nor a Quart application",
        ),
        ("def make():\n    raise OSError('no disk')", "make", [], "decant: TARGET 'legacy:make': OSError: no disk ("),
        ("import nope_", "app", [], "decant: TARGET 'legacy:app': ModuleNotFoundError: No module named 'nope_' ("),
        ("1 +", "app", [], "decant: TARGET 'legacy:app': SyntaxError: "),
        (FLASK, "theirs", ["--metrics", "localhost"], "decant: --metrics 'localhost' is no URL such as http://"),
        (
            FLASK,
            "theirs",
            ["--metrics", "http://127.0.0.1:9/"],
            "decant: --metrics http://127.0.0.1:9/ cannot be read: ",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    call: Call, source: str, name: str, options: list[str], message: str
) -> None:
    status, lines = call(source, name, *options)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(message)


def test_redirects_are_not_followed(call: Call, page: str) -> None:
    """The token would go where they point."""
    status, lines = call(FLASK, "theirs", "--metrics", f"{page}/moved", "--token", "secret")
    assert (status, len(lines)) == (1, 1)
    assert "answered 302" in lines[0]


def test_a_call_without_a_target_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["routes"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("decant routes: Missing argument 'TARGET'")
