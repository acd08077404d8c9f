"""The command ``decant``.

Its modules import at their top only what the base install has, and nothing heavy: ``decant --help`` answers at once
and in any environment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from ..errors import DecantError
from .routes import routes
from .serve import serve
from .tasks import tasks
from .up import up
from .worker import worker

__all__ = ["decant", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="quart-decant")
def decant() -> None:
    """Serve a Quart application, run its jobs, and pour a Flask application into it."""


_NoArgsIsHelpError: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # since click 8.2

decant.add_command(up)
decant.add_command(serve)
decant.add_command(routes)
decant.add_command(worker)
decant.add_command(tasks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 if it worked, 2 if it was called wrongly, 1 if it failed, each told in one line."""
    try:
        status = decant.main(args=arguments, prog_name="decant", standalone_mode=False)
    except _NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "decant"
        status = _failed(command, f"{error.format_message()} (see {command} --help)", 2)
    except click.ClickException as error:
        status = _failed("decant", error.format_message(), error.exit_code)
    except DecantError as error:
        status = _failed("decant", str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        status = _failed("decant", "interrupted", 130)
    sys.exit(status)


def _failed(command: str, message: str, status: int) -> int:
    click.echo(f"{command}: {message}", err=True)
    return status
