"""The test runner of an application's commands."""

from __future__ import annotations

import asyncio
from functools import partial
from inspect import isawaitable
from typing import Any
from unittest.mock import patch

import click
from quart.testing import QuartCliRunner

from ..bridge import in_thread, wait

__all__ = ["CliRunner"]


class CliRunner(QuartCliRunner):
    """Follows ``flask.testing.FlaskCliRunner``; what differs: a command may be ``async``, whichever group it is in.

    ``invoke`` is synchronous, as Flask's. In an asynchronous test it needs the bridge, which the pytest plugin gives;
    click then runs in a thread, where a command may block, or start an event loop of its own, as on the command line.
    """

    def invoke(self, cli: Any = None, args: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Run ``cli``, the application's own group by default, with ``args``; return click's ``Result``.

        :raises RuntimeError: on an event loop, outside a bridge.
        """
        run = partial(self._invoke, self.app.cli if cli is None else cli, args, kwargs)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run()
        return wait(in_thread(run))

    def _invoke(self, command: click.Command, args: Any, kwargs: dict[str, Any]) -> Any:
        invoke = command.invoke

        def awaiting(context: click.Context) -> Any:
            result = invoke(context)
            return wait(result) if isawaitable(result) else result

        with patch.object(command, "invoke", awaiting):
            return super().invoke(command, args, **kwargs)
