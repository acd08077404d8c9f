"""``CliRunner``: commands of an application, synchronous and ``async``."""

from __future__ import annotations

import asyncio

import click
import pytest
from quart import Quart, current_app

import decant
from decant.testing import CliRunner


@click.command("loose")
@click.argument("name")
async def loose(name: str) -> None:
    await asyncio.sleep(0)
    click.echo(f"loose {name}")


@click.group()
def plain() -> None:
    pass


@plain.command("sub")
async def sub() -> None:
    await asyncio.sleep(0)
    click.echo("sub")


@pytest.fixture
def app(quart_class: type[Quart]) -> Quart:
    app = quart_class("project", static_folder=None)

    @app.cli.command("hello")
    @click.option("--name", default="you")
    def hello(name: str) -> None:
        click.echo(f"hello {name}")

    @app.cli.command("fails")
    def fails() -> None:
        raise KeyError("missing")

    app.cli.add_command(loose)
    app.cli.add_command(plain)
    return app


def test_the_applications_commands_run(app: Quart) -> None:
    runner = CliRunner(app)
    assert runner.invoke(args=["hello", "--name", "me"]).output == "hello me\n"
    result = runner.invoke(args=["fails"])
    assert result.exit_code == 1
    assert isinstance(result.exception, KeyError)
    assert runner.invoke(args=["hello", "--nome"]).exit_code == 2


def test_async_commands_run_without_a_loop(app: Quart) -> None:
    """In the application's group, in a group of it, and by themselves."""
    runner = CliRunner(app)
    assert runner.invoke(args=["loose", "a"]).output == "loose a\n"
    assert runner.invoke(args=["plain", "sub"]).output == "sub\n"
    assert runner.invoke(loose, ["b"]).output == "loose b\n"
    assert runner.invoke(plain, ["sub"]).output == "sub\n"


async def test_async_commands_run_in_a_bridged_test(app: Quart) -> None:
    """``invoke`` is not awaited, as in Flask."""
    runner = CliRunner(app)
    assert runner.invoke(args=["loose", "a"]).output == "loose a\n"
    assert runner.invoke(plain, ["sub"]).output == "sub\n"


async def test_outside_a_bridge_it_says_what_is_needed(app: Quart) -> None:
    async def unbridged() -> None:
        with pytest.raises(RuntimeError, match="bridged"):
            CliRunner(app).invoke(loose, ["a"])

    await asyncio.create_task(unbridged())


async def test_a_command_may_start_a_loop_of_its_own_in_a_bridged_test(app: Quart) -> None:
    @click.command()
    def own() -> None:
        click.echo(asyncio.run(asyncio.sleep(0, "own")))

    assert CliRunner(app).invoke(own).output == "own\n"


def test_commands_of_our_application_have_its_context(quart_class: type[Quart]) -> None:
    """As Flask's have; Quart's own have none."""
    app = quart_class("project", static_folder=None)

    @app.cli.command("where")
    def where() -> None:
        click.echo(current_app.name if current_app else "nowhere")

    expected = "nowhere\n" if quart_class is Quart else "project\n"
    assert CliRunner(app).invoke(args=["where"]).output == expected


def test_decants_applications_have_this_runner() -> None:
    """app.test_cli_runner() runs commands that are async; a subclass may have another runner, and derive from it."""
    app = decant.Quart("project", static_folder=None)
    assert type(app.test_cli_runner()) is CliRunner
    assert app.test_cli_runner().invoke(loose, ["ran"]).output == "loose ran\n"

    class Runner(decant.Quart.test_cli_runner_class):  # type: ignore[misc]
        pass

    app.test_cli_runner_class = Runner
    assert type(app.test_cli_runner()) is Runner
