"""One application's Socket.IO: its server, its manager, and their life from the first request to the last."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType
from typing import Any, Final, Literal, TypeVar
from weakref import ref

from socketio.packet import Packet

from ..bridge import Threads
from ..context import on_quart
from ..errors import Unavailable
from ..ops.registry import gauge, readiness
from ..redis import client
from .asgi import Middleware, same_origin
from .background import BackgroundTasks
from .manager import Manager, RedisManager
from .options import Options
from .outbox import Outbox
from .server import Server

__all__ = ["SERVING", "Serving", "beside", "make_manager"]

T = TypeVar("T")
logger = logging.getLogger("decant.socketio")
OnLoop = Callable[[Coroutine[Any, Any, Any], str, str, Any], Awaitable[Any]]
SERVING: Final = "decant.socketio"
"""Where an application keeps its :class:`Serving`, in its ``extensions``."""
_FLUSH_S: Final = 1.0
_CLIENTS: Final = gauge("decant_socketio_clients", "Clients that are connected to this process", ["app"])


def make_manager(app: Any, options: Options, *, write_only: bool) -> Any:
    """The given ``client_manager``; or one over Redis, or of this process alone.

    :raises ConfigError: if the URL is wrong.
    """
    given = options.engine.get("client_manager")
    if given is not None:
        return given
    if not options.message_queue:
        return Manager()
    client(app, options.message_queue)  # refuses a wrong URL now
    held = ref(app) if app is not None else lambda: None  # the extension keeps a writer by its application
    outbox = Outbox(
        lambda: client(held(), options.message_queue),
        options.channel,
        keep=options.when_away == "keep",
        size=options.outbox_size,
    )
    return RedisManager(outbox.redis, outbox, heartbeat_s=options.heartbeat_s, write_only=write_only)


def beside(
    app: Any,
    asgi_app: Any,
    *,
    views: Literal["threads", "loop"] = "threads",
    threads: Threads | None = None,
    on_loop: OnLoop | None = None,
) -> Serving | None:
    """Serve a Flask application's clients beside it: ``middleware``, with ``start()`` and ``close()`` for its life.

    ``None`` if the application has no Socket.IO of ours.

    :param asgi_app: what is given everything that is not Socket.IO's.
    :param views: where handlers run.
    :param threads: in which threads.
    :param on_loop: awaits a handler that runs on the loop; ``None`` is :func:`decant.bridge.bridged`.
    """
    serving = app.extensions.get(SERVING)
    if not isinstance(serving, Serving):
        return None
    serving.views, serving.threads, serving.on_loop = views, threads, on_loop
    serving.beside(asgi_app)
    return serving


class _AppJson:
    """A ``json`` module that is the application's provider, whatever context is active."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def dumps(self, value: Any, **options: Any) -> str:
        return str(self.app.json.dumps(value, **options))

    def loads(self, text: Any, **options: Any) -> Any:
        return self.app.json.loads(text, **options)


def _engine_options(app: Any, options: Options) -> dict[str, Any]:
    given = {name: value for name, value in options.engine.items() if name not in ("client_manager", "json")}
    if given.get("cors_allowed_origins") is None:
        given["cors_allowed_origins"] = same_origin
    module = options.engine.get("json")
    if module is not None and given.get("serializer", "default") == "default":
        # python-socketio would set it on its own class, for all servers of the process
        named = getattr(module, "__name__", "") in ("quart.json", "flask.json", "decant.quart.json")
        given["serializer"] = type("Packet", (Packet,), {"json": _AppJson(app) if named else module})
    return given


class Serving:
    """What an application's ``SocketIO`` is made of at run time.

    :ivar middleware: of a Quart application, around its ``asgi_app``; of a Flask application what :meth:`beside` made.
    :ivar views: where a Flask application's synchronous handlers run.
    :ivar threads: the pool for those in threads; ``None`` is the current one.
    :ivar on_loop: awaits one on the loop, given its coroutine, its name, a text for it and its function.
    """

    middleware: Middleware | None = None
    views: Literal["threads", "loop"] = "threads"
    threads: Threads | None = None
    on_loop: OnLoop | None = None

    def __init__(self, app: Any, options: Options, dispatch: Callable[..., Awaitable[Any]]) -> None:
        self.options = options
        served = on_quart(app)
        if served:
            app.before_serving(self.start)
            app.after_serving(self.close)  # before the Redis client's, which is made below
        self.manager = make_manager(app, options, write_only=False)
        engine = _engine_options(app, options)
        self.server = Server(options, dispatch, client_manager=self.manager, async_mode="asgi", **engine)
        self.tasks = BackgroundTasks(app)
        if served:
            app.asgi_app = self.beside(app.asgi_app)
        server = ref(self.server)
        _CLIENTS.set_function(lambda: found.clients if (found := server()) is not None else 0, app=app.name)
        if isinstance(self.manager, RedisManager):
            readiness("socketio", self._check, critical=False, app=app)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: dict[int, Any] = {}
        self._closing: asyncio.Task[None] | None = None

    def beside(self, asgi_app: Any) -> Middleware:
        """An ASGI application that serves the clients, and gives everything else to ``asgi_app``."""
        self.middleware = Middleware(self.server, asgi_app, self.options.path)
        return self.middleware

    @property
    def reaches_clients(self) -> bool:
        """Whether what is emitted can arrive: this process serves, or others hear of it."""
        return self._loop is not None or self.server.clients > 0 or isinstance(self.manager, RedisManager)

    async def on_its_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` where the clients are served: a thread that no request sent has another loop."""
        loop = self._loop
        if loop is None or loop is asyncio.get_running_loop():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    async def _check(self) -> None:
        if self._loop is None:
            raise Unavailable("it does not serve")
        await self.manager.check()

    async def start(self) -> None:
        """Begin to listen to other processes, and to hear of the server's stop."""
        self._loop = asyncio.get_running_loop()
        self.server.stopping, self._closing = False, None
        self.begin()
        self.tasks.serve()
        self._watch_signals()
        options = self.options
        if options.message_queue and "polling" in options.transports and not options.sticky:
            logger.warning(
                "SOCKETIO_STICKY is not set: with several processes, long polling fails unless the proxy sends each"
                " client to one of them. Say SOCKETIO_STICKY = True once it does, or SOCKETIO_TRANSPORTS ="
                " ['websocket']"
            )

    def begin(self) -> None:
        """Initialise the manager, which listens from now on."""
        if not self.server.manager_initialized:
            self.server.manager_initialized = True
            self.manager.initialize()

    async def close(self) -> None:
        """Take no new clients, let handlers end, tell the clients, and end what has not ended by the deadline."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.options.shutdown_timeout_s
        self.server.stopping = True
        self._unwatch_signals()
        half_s = self.options.shutdown_timeout_s / 2
        await asyncio.gather(self.server.quiet(half_s), self.tasks.drain(half_s))
        await self.server.eio.leave(max(0.1, deadline - loop.time()))
        if isinstance(self.manager, RedisManager):
            await self.manager.outbox.flush(_FLUSH_S)
            await self.manager.close()
        self.server.manager_initialized = False
        self._loop = None

    # Hypercorn ends the lifespan only after its connections, and on Python 3.12 and newer it waits for these without
    # end (hypercorn#308). So WebSockets have to be closed when the signal comes, and ASGI does not tell of it.

    def _watch_signals(self) -> None:
        """Hear of the signals that the server handles: its event loop reads them from a pipe, so both do."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if callable(previous) and previous is not signal.default_int_handler:
                self._previous[number] = previous
                signal.signal(number, self._signalled)
                signal.siginterrupt(number, False)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._begin_to_close)
        self._previous[number](number, frame)

    def _begin_to_close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())

    def _unwatch_signals(self) -> None:
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, previous)
                signal.siginterrupt(number, False)
