"""Applications of all kinds with an executor, and code that runs in a view of theirs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
import quart
from blockbuster import BlockBuster

import decant
from decant.executor import Executor
from decant.faces import face
from decant.testing import Client

KINDS = {"quart": quart.Quart, "decant": decant.Quart, "flask": flask.Flask}
_numbers = itertools.count()


class Site:
    """An application and its executor; ``visit`` runs a function in a view, in a thread, as Flask code runs."""

    def __init__(self, kind: str, config: dict[str, Any], executor: Any = None) -> None:
        # A name of its own: jobs of earlier tests may end only now, and their metrics count them.
        self.app: Any = KINDS[kind](f"site_{next(_numbers)}")
        if kind == "decant":
            self.app.test_client_class = Client  # imported by now: on the event loop that would block it
        self.app.secret_key = "for tests"
        self.app.config.update(config)
        self.lib: Any = flask if kind == "flask" else quart
        self.is_quart = kind != "flask"
        self.executor: Any = executor or Executor()
        self.executor.init_app(self.app)
        self._work: Callable[[], Any]
        self._value: Any = None
        self.app.add_url_rule("/visit", "visit", self._view)

    def _view(self) -> str:
        self._value = self._work()
        return "ok"

    def visit(self, work: Callable[[], Any]) -> Any:
        self._work = work
        if self.is_quart:
            status = asyncio.run(self._visit())
        else:
            self.app.testing = True
            status = self.app.test_client().get("/visit?q=1").status_code
        assert status == 200
        return self._value

    async def _visit(self) -> int:
        self.app.testing = True
        return int((await self.app.test_client().get("/visit?q=1")).status_code)

    def end(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def make_site(no_blocking: BlockBuster) -> Iterator[Callable[..., Site]]:
    """Makes an application. That may block, as it does before a server's loop runs."""
    sites: list[Site] = []

    def make(kind: str = "quart", **config: Any) -> Site:
        no_blocking.deactivate()
        try:
            sites.append(Site(kind, config))
        finally:
            no_blocking.activate()
        return sites[-1]

    yield make
    for site in sites:
        site.end()


@pytest.fixture(params=[*KINDS, "face"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Quart's, ours, Flask's, and Flask's with the face."""
    is_face = request.param == "face"
    made = Site("flask" if is_face else request.param, {}, face(Executor)() if is_face else None)
    yield made
    made.end()
