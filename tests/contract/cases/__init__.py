"""The cases of ``examples/shortener/CONTRACT.md``: each a function that uses a site as people and programs do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module

from ..running import Running
from ..visitor import PASSWORD, Visitor

__all__ = ["MODULES", "Case", "World", "all_cases", "case", "new_name"]

MODULES = (
    "accounts",
    "sessions",
    "tokens",
    "pages",
    "links",
    "redirects",
    "figures",
    "imports",
    "jobs",
    "live",
    "cors",
    "errors",
    "malformed",
    "statics",
)
_cases: list[Case] = []


def new_name(start: str = "u") -> str:
    """A name that nobody has."""
    return f"{start}{uuid.uuid4().hex[:12]}"


class World:
    """A running site during one case: who visits it, and its further web process."""

    def __init__(self, running: Running, stack: AsyncExitStack) -> None:
        self.running, self._stack = running, stack
        self.url = running.url

    def visitor(self, url: str = "") -> Visitor:
        """Somebody who is not logged in."""
        visitor = Visitor(url or self.url)
        self._stack.push_async_callback(visitor.aclose)
        return visitor

    async def other_url(self) -> str:
        """Where the site's second web process is."""
        return await asyncio.to_thread(self.running.other_url)

    async def user(self, password: str = PASSWORD) -> Visitor:
        """Somebody who is registered and logged in."""
        visitor = self.visitor()
        (await visitor.register(new_name(), password)).goes_to("/links/new")
        return visitor

    async def program(self, user: Visitor | None = None) -> Visitor:
        """A client with a token of a user, a new one's unless it is given; it has no cookies."""
        user = user or await self.user()
        made = await user.api(
            "POST", "/tokens", {"name": "program"}, headers=dict.fromkeys(CSRF_HEADERS, await user.csrf_token())
        )
        assert made.status == 201, made.text
        program = self.visitor()
        program.name, program.token = user.name, made.json["token"]
        return program


CSRF_HEADERS = ("X-CSRF-Token", "X-CSRFToken")


@dataclass(frozen=True)
class Case:
    """``quick``: also in ``make test``."""

    name: str
    module: str
    run: Callable[[World], Awaitable[None]]
    quick: bool


def case(name: str, *, quick: bool = False) -> Callable[..., Callable[[World], Awaitable[None]]]:
    """A function is the case of that name."""

    def decorator(run: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
        _cases.append(Case(name, run.__module__.rpartition(".")[2], run, quick))
        return run

    return decorator


def all_cases() -> list[Case]:
    """All of them, in the order of the contract."""
    if not _cases:
        for module in MODULES:
            import_module(f"{__name__}.{module}")
    return _cases
