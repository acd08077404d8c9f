"""Lua scripts, run by their SHA."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from redis.asyncio.client import Pipeline
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from .core import Redis

__all__ = ["Script"]


class Script(AsyncScript):
    """A Lua script: ``await script(keys=[...], args=[...])``.

    It is sent by its SHA. Where the server does not know it (restarted, flushed), that one call, which has not run,
    is repeated with the source; other commands of the same batch are not concerned. In an explicit pipeline it
    behaves as redis-py's does.
    """

    def __init__(self, owner: Redis, source: str | bytes) -> None:
        super().__init__(owner, source)
        self.source = source

    async def __call__(
        self,
        keys: Sequence[Any] | None = None,
        args: Iterable[Any] | None = None,
        client: Any = None,
    ) -> Any:
        if isinstance(client, Pipeline):
            return await super().__call__(keys, args, client)
        redis: Any = self.registered_client if client is None else client
        arguments = (*(keys or ()), *(args or ()))
        count = len(keys or ())
        try:
            return await redis.evalsha(self.sha, count, *arguments)
        except NoScriptError:
            return await redis.eval(self.source, count, *arguments)
