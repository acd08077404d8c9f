"""The clicks of this process, told to whoever watches: four times a second at most, never by the redirect itself."""

from __future__ import annotations

import asyncio

import structlog
from quart import Quart

from decant.ops.registry import counter

from ..extensions import link_room, socketio
from . import events as _events  # noqa: F401  registers the handlers

__all__ = ["LiveClicks", "init_live"]

_EVERY_S = 0.25
_LINKS_AT_ONCE = 200  # told each time; pages have the others' clicks when they are loaded again
_UNTOLD = counter("shortener_live_clicks_untold", "Clicks that no open page was told of, because there were too many")

logger = structlog.get_logger("app.live")


class LiveClicks:
    """Adds clicks up and emits ``clicks`` to each link's room, from a task of the application.

    It is a hint for people who look on: nothing waits for it, and what is lost here is counted all the same.
    """

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._clicks: dict[tuple[int, str], int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, link_id: int, slug: str) -> None:
        """A click of now."""
        key = (link_id, slug)
        if key not in self._clicks and len(self._clicks) >= _LINKS_AT_ONCE:
            _UNTOLD.inc()
            return
        self._clicks[key] = self._clicks.get(key, 0) + 1
        self._wake.set()

    async def start(self) -> None:
        await self.stop()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_EVERY_S)
            self._wake.clear()
            told, self._clicks = self._clicks, {}
            try:
                async with self._app.app_context():
                    await asyncio.gather(*(_tell(*key, clicks) for key, clicks in told.items()))
            except Exception:
                logger.exception("open pages are not told of clicks")


async def _tell(link_id: int, slug: str, clicks: int) -> None:
    await socketio.emit("clicks", {"slug": slug, "clicks": clicks}, to=link_room(link_id))


def init_live(app: Quart) -> None:
    """Serve Socket.IO, and tell of clicks while the application is served."""
    live = app.extensions["live"] = LiveClicks(app)
    app.before_serving(live.start)
    app.after_serving(live.stop)
    socketio.init_app(app)
