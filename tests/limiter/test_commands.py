"""flask limiter …, quart limiter …: what is limited, and how much of it is left."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from click.testing import CliRunner, Result
from flask.cli import ScriptInfo as FlaskScriptInfo
from quart.cli import ScriptInfo as QuartScriptInfo

from decant import Quart
from decant.faces import face
from decant.limiter import Limiter
from decant.limiter.commands import cli

pytestmark = pytest.mark.parity("limiter", "CLI flask limiter")


@pytest.fixture(params=["quart", "flask"])
def app(request: pytest.FixtureRequest, redis_url: str) -> Any:
    app: Any = (Quart if request.param == "quart" else flask.Flask)("shop")
    app.config.update(RATELIMIT_STORAGE_URI=redis_url, REDIS_DEADLINE_S=30.0, RATELIMIT_HEADERS_ENABLED=True)
    kind: Any = Limiter if request.param == "quart" else face(Limiter)
    limiter = kind(lambda: "me", app=app, default_limits=["50/hour"], application_limits=["100/day"])

    def index() -> str:
        return "ok"

    def free() -> str:
        return "ok"

    app.add_url_rule("/", "index", limiter.limit("3/minute")(index))
    app.add_url_rule("/other", "other", lambda: "ok", methods=["POST"])
    app.add_url_rule("/free", "free", limiter.exempt(free))
    blueprint: Any = (Quart and __import__(request.param)).Blueprint("area", __name__, url_prefix="/area")
    blueprint.add_url_rule("/", "index", lambda: "ok")
    limiter.limit("7/minute")(blueprint)
    app.register_blueprint(blueprint)
    return app


def run(app: Any, *arguments: str, **options: Any) -> Result:
    script_info: Any = QuartScriptInfo if isinstance(app, Quart) else FlaskScriptInfo
    return CliRunner().invoke(cli, arguments, obj=script_info(create_app=lambda *_: app), **options)


def visit(app: Any, times: int) -> list[int]:
    """In a loop of its own, as another process would."""
    import asyncio

    async def each() -> list[int]:
        client = app.test_client()
        found = [(await client.get("/")).status_code for _ in range(times)]
        for redis in app.extensions["decant.redis"].values():
            await redis.aclose()
        return found

    if isinstance(app, Quart):
        return asyncio.run(each())
    return [app.test_client().get("/").status_code for _ in range(times)]


def test_limits_are_listed(app: Any) -> None:
    """By path, with those of the application, of blueprints, and what is exempt; or of one endpoint or path."""
    result = run(app, "limits")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "application",
        "    100 per 1 day",
        "index: /",
        "    3 per 1 minute",
        "area.index: /area/",
        "    7 per 1 minute",
        "free: /free  (exempt: APPLICATION, META, DEFAULT)",
        "other: /other",
        "    50 per 1 hour",
    ]
    for arguments in (["--endpoint", "other"], ["--path", "/other", "--method", "post"]):
        assert run(app, "limits", *arguments).output.splitlines() == ["other: /other", "    50 per 1 hour"]


def test_limits_are_tested_for_a_key(app: Any) -> None:
    """Without counting."""
    assert visit(app, 2) == [200, 200]
    for _ in range(2):
        result = run(app, "limits", "--endpoint", "index", "--key", "me")
        assert "3 per 1 minute: me passes, 1 remain, resets in " in result.output
    assert visit(app, 2) == [200, 429]
    assert "me is denied, 0 remain" in run(app, "limits", "--path", "/", "--key", "me").output
    assert "you passes, 3 remain" in run(app, "limits", "--path", "/", "--key", "you").output


def test_counts_of_a_key_are_cleared(app: Any) -> None:
    """After a question, or with -y; of one endpoint or of all."""
    assert visit(app, 4) == [200, 200, 200, 429]
    assert "cleared" not in run(app, "clear", "--key", "me", input="n\n").output
    assert run(app, "clear", "--key", "me", "--endpoint", "other", "-y").exit_code == 0
    assert visit(app, 1) == [429]
    assert "index: 3 per 1 minute: cleared" in run(app, "clear", "--key", "me", "--endpoint", "index", "-y").output
    assert visit(app, 4) == [200, 200, 200, 429]
    output = run(app, "clear", "--key", "me", input="y\n").output
    assert "application: 100 per 1 day: cleared" in output
    assert visit(app, 1) == [200]
    assert "me passes, 99 remain" in run(app, "limits", "--key", "me").output


def test_the_configuration_is_shown(app: Any) -> None:
    lines = dict(line.split(maxsplit=1) for line in run(app, "config").output.splitlines())
    assert lines["RATELIMIT_STRATEGY"] == "fixed-window"
    assert lines["RATELIMIT_DEFAULT"] == "50/hour"
    assert lines["RATELIMIT_APPLICATION"] == "100/day"
    assert lines["RATELIMIT_HEADER_RESET"] == "X-RateLimit-Reset"
    assert lines["RATELIMIT_STORAGE_URI"].startswith("<RedisStorage on")


def test_mistakes_are_told_in_one_line(app: Any, unused_port: int) -> None:
    """An unknown endpoint or path, no key, no storage, an application without a limiter: not status 0."""
    for arguments, text in (
        (["limits", "--endpoint", "nowhere"], "There is no endpoint 'nowhere'"),
        (["limits", "--path", "/nowhere"], "No route answers GET /nowhere (404)"),
        (["clear", "-y"], "Missing option '--key'"),
    ):
        result = run(app, *arguments)
        assert result.exit_code != 0
        assert text in result.output
    other = type(app)("other")
    other.config["RATELIMIT_STORAGE_URI"] = f"redis://127.0.0.1:{unused_port}"
    (Limiter if isinstance(app, Quart) else face(Limiter))(lambda: "me", app=other, application_limits=["1/day"])
    for arguments in (["limits", "--key", "me"], ["clear", "--key", "me", "-y"]):
        result = run(other, *arguments)
        assert result.exit_code == 1
        assert "Error: The storage does not answer: Redis at redis://127.0.0.1" in result.output
    result = run(type(app)("bare"), "limits")
    assert result.exit_code == 1
    assert "No limiter is installed on bare" in result.output


def test_the_group_is_a_command_of_the_application(app: Any) -> None:
    assert app.cli.commands["limiter"] is cli
