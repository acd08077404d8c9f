"""app.cli: commands, sync and async, in a context and in the bridge."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import pytest

from decant import Quart, wait
from decant.bridge import current_threads, in_thread
from decant.quart import Blueprint, current_app, has_app_context
from decant.quart.cli import AppGroup, with_appcontext


def run(app: Quart, *args: str) -> str:
    result = app.test_cli_runner().invoke(args=list(args))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_a_command_may_be_async(app: Quart) -> None:
    """It has its arguments, an application context, and the application's threads."""

    @app.cli.command()
    @click.argument("name")
    async def greet(name: str) -> None:
        await asyncio.sleep(0)
        assert current_threads.get() is app.threads
        click.echo(f"{current_app.name} {name} {wait(asyncio.sleep(0, 'waited'))}")

    assert run(app, "greet", "you") == f"{app.name} you waited\n"


def test_a_sync_command_has_a_context_and_may_wait(app: Quart) -> None:
    """As Flask's: with_appcontext is the default."""

    @app.cli.command("count")
    def count() -> None:
        click.echo(f"{current_app.name} {wait(asyncio.sleep(0, 3))}")

    assert run(app, "count") == f"{app.name} 3\n"


def test_a_command_may_do_without(app: Quart) -> None:
    """with_appcontext=False: no context and no loop, so that it may run its own."""

    @app.cli.command(with_appcontext=False)
    def alone() -> None:
        click.echo(f"{has_app_context()} {asyncio.run(asyncio.sleep(0, 'own loop'))}")

    assert run(app, "alone") == "False own loop\n"


def test_without_flask_compat_a_sync_command_has_no_context(app: Quart) -> None:
    """Quart's default, whose sync commands run their own loop."""
    app.config["FLASK_COMPAT"] = False

    @app.cli.command()
    def alone() -> None:
        click.echo(f"{has_app_context()} {asyncio.run(asyncio.sleep(0, 'own loop'))}")

    @app.cli.command(with_appcontext=True)
    def inside() -> None:
        click.echo(has_app_context())

    assert (run(app, "alone"), run(app, "inside")) == ("False own loop\n", "True\n")


def test_groups_and_blueprints_have_them_too(app: Quart) -> None:
    """A nested group, a blueprint's commands, and a plain click command with with_appcontext."""
    users = AppGroup("users")

    @users.command("list")
    async def list_users() -> None:
        click.echo(f"list {current_app.name}")

    @app.cli.group()
    def tools() -> None: ...

    @tools.command()
    async def mend() -> None:
        click.echo(f"mend {current_app.name}")

    @click.command("plain")
    @with_appcontext
    async def plain() -> None:
        click.echo(f"plain {current_app.name}")

    blueprint = Blueprint("shop", __name__, root_path=".")

    @blueprint.cli.command()
    async def stock() -> None:
        click.echo(f"stock {current_app.name}")

    app.cli.add_command(users)
    app.cli.add_command(plain)
    app.register_blueprint(blueprint)
    for words in (["users", "list"], ["tools", "mend"], ["plain"], ["shop", "stock"]):
        assert run(app, *words) == f"{words[-1]} {app.name}\n"


def test_an_async_command_that_click_made_is_run(app: Quart) -> None:
    """@click.command on a coroutine function, added as it is."""

    @click.command()
    async def added() -> None:
        click.echo(current_app.name)

    app.cli.add_command(added)
    assert run(app, "added") == f"{app.name}\n"


def test_a_command_runs_without_quarts_own_command_line(app: Quart) -> None:
    """app.cli.main() finds its application by itself."""

    @app.cli.command()
    async def name() -> None:
        click.echo(current_app.name)

    with pytest.raises(SystemExit) as ended:
        app.cli.main(["name"])
    assert ended.value.code == 0


def test_errors_and_teardown_hooks_are_as_in_a_request(app: Quart) -> None:
    """An exception reaches the caller after the hooks have run."""
    events: list[Any] = []

    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        events.append(repr(error))

    @app.cli.command()
    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        run(app, "fail")
    assert events == ["LookupError('no')"]


async def test_commands_run_inside_a_running_loop(app: Quart) -> None:
    """From a thread that may wait, as a synchronous view: the command runs on the loop that is there."""

    @app.cli.command()
    async def inside() -> None:
        await asyncio.sleep(0)
        click.echo("done")

    assert await in_thread(run, app, "inside") == "done\n"
