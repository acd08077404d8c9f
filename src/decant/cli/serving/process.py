"""``python -m decant.cli.serving.process OPTIONS``: one serving process, started by ``decant serve``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...bridge import bridged
from ...errors import DecantError
from ..logs import log_to_stderr
from .applications import Application, before_import, made_servable
from .draining import Served
from .failures import in_a_line
from .options import Options
from .servers import accept_no_more, described, listen, loop_factory, serving
from .targets import Target

__all__ = ["main"]

_AFTER_DRAIN_S = 1.0
_SETTLE_S = 0.3  # what was accepted just now sends its request, and who has an answer closes


class Report:
    """The pipe to the parent: one line of JSON, either ``ready`` with what the banner says, or ``failed`` with why."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        os.set_inheritable(descriptor, False)

    @property
    def told(self) -> bool:
        """Whether a message was sent."""
        return self._descriptor is None

    def tell(self, **message: Any) -> None:
        """Only the first message is sent."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):  # the parent has gone
                os.write(descriptor, json.dumps(message).encode() + b"\n")
            os.close(descriptor)


class _Failed(Exception):
    """Told to the parent already."""


class Process:
    """The process from its start to its end."""

    def __init__(self, options: Options, report: Report) -> None:
        self.options, self.report = options, report
        self.title = f"{options.source} {options.target!r}"
        self.facts: dict[str, Any] = {}
        self.stop = asyncio.Event()

    def run(self) -> int:
        """Serve until SIGTERM; the exit status."""
        try:
            with asyncio.Runner(loop_factory=loop_factory(self.options)) as runner:
                runner.run(self._serve())
        except _Failed:
            return 1
        except DecantError as error:
            self.report.tell(failed=str(error))
            return 1
        return 0

    async def _serve(self) -> None:
        application = await self._application()
        log_to_stderr(self.options.loglevel, "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
        served = Served(application.asgi, self._ready)
        self._stop_on_signals(served)  # not before: until then SIGTERM ends the process at once
        try:
            await serving(self.options.server)(self._outermost(served), self.options, self.stop)
        except (Exception, SystemExit) as error:
            if served.failure is None and self.report.told:
                raise
            raise self._did_not_start(served, error) from error
        if served.failure is not None:
            raise self._did_not_start(served)

    def _ready(self) -> None:
        listen(self.options.descriptors)  # before the server does: who is told that we are ready may connect
        self.report.tell(ready=self.facts)

    def _did_not_start(self, served: Served, error: BaseException | None = None) -> _Failed:
        if served.failure is not None or error is None:
            return self._failed(f"{self.title}: its start failed: {' '.join((served.failure or '').split())}")
        return self._failed(in_a_line(error, self.title))

    def _stop_on_signals(self, served: Served) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if not served.leaving:
                served.leaving = True
                accept_no_more(self.options)
                loop.call_later(_SETTLE_S, self.stop.set)
                loop.call_later(self.options.open_s, served.end)
                _end_anyway(self.options.drain_s + _AFTER_DRAIN_S)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)

    def _outermost(self, served: Served) -> Any:
        app: Any = served
        if self.options.proxy_hops:
            from .proxied import behind_proxies

            app = behind_proxies(app, self.options.proxy_hops)
        return app

    async def _application(self) -> Application:
        """The target, imported and made in the bridge on the loop that serves it."""
        options = self.options
        sys.path[:0] = [path for path in options.import_path if path not in sys.path]
        try:
            self.facts |= before_import(options)
            found = await bridged(_loaded(Target.parse(options.target, options.source)))
            application = made_servable(found, options, self.title)
        except (Exception, SystemExit) as error:
            if options.loglevel == "DEBUG":
                traceback.print_exc()
            raise self._failed(in_a_line(error, self.title)) from error
        if options.health:
            from ...ops.health import Health

            application = replace(application, asgi=Health(application.asgi, app=application.app))
            self.facts["health"] = "/healthz and /readyz"
        self.facts |= {"kind": application.kind, "views": application.views, "caution": application.caution}
        self.facts["server"] = described(options)
        return application

    def _failed(self, line: str) -> _Failed:
        self.report.tell(failed=line)
        return _Failed(line)


def _loaded(target: Target) -> Coroutine[Any, Any, Any]:
    async def load() -> Any:
        return target.load()

    return load()


def _end_anyway(seconds: float) -> None:
    """End this process then, even if the loop is held and the parent has gone."""
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()


def main(argument: str, descriptor: int) -> int:
    """Serve; the exit status."""
    options = Options.from_argument(argument)
    return Process(options, Report(descriptor)).run()


if __name__ == "__mp_main__":
    # A process that the application starts ("spawn", "forkserver") imports our main module under this name before any
    # of the application's: there, too, its imports give the faces. Too late is what a forkserver has preloaded.
    with suppress(RuntimeError):
        before_import(Options.from_argument(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
