"""What ``decant serve`` finds at a target, and what it says where there is nothing to serve."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from decant.cli import main
from decant.cli.serving.applications import made_servable
from decant.cli.serving.failures import in_a_line
from decant.cli.serving.options import Options
from decant.cli.serving.targets import Target, is_asgi
from decant.cli.serving.worker import Worker
from decant.errors import CommandError, ConfigError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module that can be imported until the test ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(text: str, name: str = "toylegacy") -> str:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("toy"):
            del sys.modules[name]


FLASK = "import flask\n"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("app = flask.Flask('found')", ":app"),
        ("class site: app = flask.Flask('found')", ":site.app"),
        ("def create_app(): return flask.Flask('found')", ":create_app"),
        ("def create_app(): return flask.Flask('found')", ":create_app()"),
        (
            "def make(name, *, debug, hosts): assert (debug, hosts) == (True, ['a', 1]); return flask.Flask(name)",
            ":make('found', debug=True, hosts=['a', 1])",
        ),
        ("made = flask.Flask('found')\nasync def create_app(): return made", ":create_app"),
        ("app = flask.Flask('found')\nother = flask.Flask('other')", ""),
        ("application = flask.Flask('found')", ""),
        ("site = flask.Flask('found')", ""),
        ("def create_app(config=None): return flask.Flask('found')", ""),
        ("def make_app(): return flask.Flask('found')", ""),
        ("import quart\napp = quart.Quart('found')", ""),
    ],
)
def test_an_application_is_found_as_flask_finds_it(module: Any, text: str, expression: str) -> None:
    name = module(FLASK + text)
    assert Target.parse(name + expression, "TARGET").load().name == "found"


def test_a_file_is_found_with_the_package_that_it_is_in(module: Any) -> None:
    module("", "toypackage.__init__")
    module("import flask\nassert __name__ == 'toypackage.inner'\napp = flask.Flask('found')", "toypackage.inner")
    assert Target.parse("toypackage/inner.py", "TARGET").load().name == "found"
    assert Target.parse("./toypackage/inner.py:app", "FLASK_APP").load().name == "found"


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a b:app", "a:b c", "a:f(x)", "a:f(**{})", "a:f(1)(2)", "a:1", "a:b[0]"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="with literals only"):
        Target.parse(text, "TARGET")


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "toynowhere:app", "TARGET 'toynowhere:app': there is no module 'toynowhere' in "),
        ("", "toylegacy.inner:app", "there is no module 'toylegacy.inner' in "),
        ("", "toynowhere.py", "there is no file "),
        ("site = flask.Flask('x')", "toylegacy:app", "toylegacy has no 'app'; it has site"),
        ("", "toylegacy", "toylegacy has no application: none of app, application, create_app, make_app"),
        ("a = flask.Flask('a'); b = flask.Flask('b')", "toylegacy", "has several applications, a, b: name one"),
        ("def create_app(name): ...", "toylegacy:create_app", "missing a required argument: 'name'"),
        ("def create_app(): ...", "toylegacy:create_app(1)", "too many positional arguments"),
        ("app = flask.Flask('x').config", "toylegacy:app()", "cannot be called"),
        ("def create_app(): return 7", "toylegacy:create_app", "it is 7, neither a Flask nor an ASGI application"),
        ("app = 7", "toylegacy:app", "it is 7, neither a Flask nor an ASGI application"),
        ("def app(environ, start_response): ...", "toylegacy:app", "missing a required argument: 'environ'"),
        (
            "from werkzeug.middleware.proxy_fix import ProxyFix\napp = ProxyFix(flask.Flask('x'))",
            "toylegacy:app",
            "name the Flask application, and let it be app.wsgi_app",
        ),
        ("raise RuntimeError('no\\nluck')", "toylegacy", "': RuntimeError: no luck (toylegacy.py:2 in <module>)"),
        (
            "def create_app(): return read()\ndef read(): return {}['SECRET_KEY']",
            "toylegacy:create_app",
            "TARGET 'toylegacy:create_app': KeyError: 'SECRET_KEY' (toylegacy.py:3 in read)",
        ),
        ("def make_app(): flask.Flask('x').route('no slash')(int)", "toylegacy", "(toylegacy.py:2 in make_app)"),
        ("import os\nos.environ['TOY_UNSET']", "toylegacy", "KeyError: 'TOY_UNSET' (toylegacy.py:3 in <module>)"),
        ("import toy_not_installed", "toylegacy", "No module named 'toy_not_installed' (toylegacy.py:2"),
        ("def (", "toylegacy", "SyntaxError: invalid syntax (toylegacy.py:2)"),
        ("raise SystemExit(3)", "toylegacy", "it exited with 3 (toylegacy.py:2"),
    ],
)  # fmt: skip
def test_an_error_of_the_target_is_one_line_that_says_where(module: Any, text: str, target: str, message: str) -> None:
    """The last place in the target's own code, whatever library the error came from."""
    module(FLASK + text)
    title = f"TARGET {target!r}"
    with pytest.raises((Exception, SystemExit)) as caught:
        made_servable(Target.parse(target, "TARGET").load(), Options(target, "TARGET"), title)
    line = in_a_line(caught.value, title)
    assert message in line
    assert "\n" not in line


def test_asgi_is_told_from_the_rest() -> None:
    async def function(scope: Any, receive: Any, send: Any) -> None: ...

    class Plain:
        def __call__(self, scope: Any, receive: Any, send: Any) -> Any: ...

    class Wsgi:
        def __call__(self, environ: Any, start_response: Any) -> Any: ...

    assert [is_asgi(one) for one in (function, Plain(), Wsgi(), Plain, 7, print, lambda a, b, c: 0)] == [
        *(True, True),
        *(False,) * 5,
    ]


@pytest.mark.parametrize("option", ["views", "threads"])
def test_options_for_flask_are_refused_for_others(option: str) -> None:
    from quart import Quart

    given: Any = {"views": "loop"} if option == "views" else {"threads": 3}
    with pytest.raises(CommandError, match=rf"--{option} is for Flask applications; TARGET 'a' is quart\.Quart"):
        made_servable(Quart("a"), Options("a", "TARGET", **given), "TARGET 'a'")


@pytest.mark.parametrize("served", ["quart", "mounted"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_mounted_flask_application_is_told_of_other_processes(served: str, workers: int) -> None:
    import flask
    from quart import Quart

    from decant.flask import mount

    app = Quart("a")
    app.config["SHUTDOWN_TIMEOUT"] = 60
    mounted = mount(app, flask.Flask("b"))
    options = Options("a", "TARGET", workers=workers)
    found = made_servable(app if served == "quart" else mounted, options, "TARGET 'a'")
    assert mounted.asgi.multiprocess is (workers > 1)
    assert "quart.Quart on Quart" in found.kind
    assert found.kind.endswith(" mounted")
    assert found.app is app
    assert app.config["SHUTDOWN_TIMEOUT"] == options.own_s


@pytest.mark.parametrize("kind", ["decant", "flask-socketio", "mounted"])
def test_several_processes_and_long_polling_do_not_go_together(kind: str) -> None:
    """Neither with Decant's Socket.IO nor with Flask-SocketIO itself; WebSockets alone do."""

    def made(workers: int, **options: Any) -> Any:
        app: Any
        if kind == "decant":
            from decant import Quart
            from decant.socketio import SocketIO

            app = Quart("a")
            SocketIO(app, **options)
        else:
            from flask import Flask
            from flask_socketio import SocketIO as Original

            app = Flask("a")
            Original(app, async_mode="threading", **options)
        if kind == "mounted":
            from quart import Quart as QuartHalf

            from decant.flask import mount

            app = mount(QuartHalf("b"), app)
        return made_servable(app, Options("a:app", "TARGET", workers=workers), "TARGET 'a:app'")

    with pytest.raises(CommandError, match=r"long polling .* WebSockets only .* sticky proxy"):
        made(2)
    made(1)
    made(2, transports=["websocket"])


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status, and what was written to either stream."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a:app", "--views", "process"], 2, "'process' is not one of"),
        (["a:app", "--workers", "0"], 2, "0 is not in the range"),
        (["a:app", "--bind", "unix:"], 2, "'unix:' is not HOST:PORT"),
        (["a:app", "--server", "gunicorn"], 2, "'gunicorn' is not one of"),
        (["a:app", "--drain", "0"], 2, "0.0 is not in the range"),
        (["a:f(x)"], 1, "TARGET = 'a:f(x)' is not valid"),
        ([], 1, "there is nothing to serve: give a TARGET such as module:app, set FLASK_APP"),
        (["a:app", "--config", "nowhere.toml"], 1, "--config nowhere.toml cannot be read"),
        (["a:app", "--config", "quic.toml"], 1, "has quic_bind: decant serve listens where bind says"),
        (["a:app", "--config", "quic.toml", "--server", "uvicorn"], 1, "--config is for Hypercorn"),
        (["a:app", "--config", "unknown.toml"], 1, "which Hypercorn does not know; did you mean keep_alive_timeout?"),
        (["a:app", "--config", "text.toml"], 1, "has workers = '4': it must be a whole number"),
        (["a:app", "--config", "yes.toml"], 1, "has backlog = True: it must be a whole number"),
        (["a:app", "--config", "trio.toml"], 1, "has worker_class = 'trio': decant serve runs on asyncio or uvloop"),
        (["a:app", "--config", "bind.toml"], 1, "has bind = ['fd://3']: 'fd://3' is not HOST:PORT"),
        (["a:app", "--proxy-headers", "b:app"], 2, "'b:app' is no number of proxies, as in --proxy-headers 1"),
        (["a:app", "--bind", "unix:quic.toml"], 1, "--bind unix:quic.toml: it is there already, and is no socket"),
        (["a:app", "--bind", "unix:/nowhere/at/all"], 1, "--bind unix:/nowhere/at/all: No such file or directory"),
        (["a:app", "--bind", "192.0.2.1:80"], 1, "192.0.2.1 is no address of this machine"),
        (["a:app", "--server", "granian", "-b", "127.0.0.1:0", "-b", "127.0.0.1:0"], 1, "listens on one address"),
    ],
)
def test_a_wrong_call_is_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLASK_APP", raising=False)
    for name, text in {
        "quic": "quic_bind = ['127.0.0.1:4433']",
        "unknown": "keepalive_timeout = 5",
        "text": "workers = '4'",
        "yes": "backlog = true",
        "trio": "worker_class = 'trio'",
        "bind": "bind = ['fd://3']",
    }.items():
        (tmp_path / f"{name}.toml").write_text(f"{text}\n")
    found, output = call(capsys, "serve", *arguments)
    assert (found, output.count("\n")) == (status, 1)
    assert message in output


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_a_server_that_is_not_installed_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setattr("decant.cli.serving.servers.find_spec", lambda name: None)
    assert call(capsys, "serve", "a:app", "--server", server) == (
        1,
        f"decant: --server {server}: it is not installed: pip install {server}\n",
    )


def test_the_command_needs_the_base_install_only() -> None:
    """It is imported with none of the extras, and imports none of what an application brings before the application."""
    script = """
import sys
for name in ("sqlalchemy", "redis", "arq", "limits", "socketio", "prometheus_client", "msgspec", "alembic", "uvloop"):
    sys.modules[name] = None
import decant.cli.serve, decant.cli.serving.process, decant.cli.serving.supervisor, decant.flask
from decant.cli.serving.applications import made_servable
from decant.cli.serving.options import Options
import flask
made_servable(flask.Flask("a"), Options("a", "TARGET", views="loop"), "a")
print("served")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.stdout == "served\n", run.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import time\ntime.sleep(60)", r"process \d+ was not ready within 5 s, and was killed"),
        ("import os\nos._exit(5)", r"process \d+ ended with status 5 before it was ready"),
    ],
)
async def test_a_process_that_does_not_come_up_is_told_of(
    monkeypatch: pytest.MonkeyPatch, no_blocking: BlockBuster, tmp_path: Path, text: str, told: str
) -> None:
    no_blocking.deactivate()  # the parent serves nobody, and starting a process blocks
    (tmp_path / "toylate.py").write_text(text)
    monkeypatch.setattr("decant.cli.serving.worker._START_TIMEOUT_S", 5.0 if "sleep" in text else 60.0)
    worker = await Worker.start(Options("toylate:app", "TARGET", import_path=[str(tmp_path)]), os.environ)
    with pytest.raises(CommandError, match=told):
        await worker.ready()
    assert worker.process.returncode is not None
