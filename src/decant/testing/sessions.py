"""``client.session_transaction()``: the next request's session, by the application's session interface."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from quart import Request
from quart.sessions import SessionMixin

from ..bridge import wait
from .outgoing import build

if TYPE_CHECKING:
    from .client import Client

__all__ = ["SessionTransaction"]


class SessionTransaction:
    """``async with`` gives the session; ``with`` too, where synchronous code may :func:`~decant.bridge.wait`.

    It is stored when the block ends, unless by an exception.
    """

    def __init__(self, client: Client, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._client, self._args, self._kwargs = client, args, kwargs
        self._request: Request | None = None
        self._session: SessionMixin | None = None

    async def __aenter__(self) -> SessionMixin:
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc_type is None:
            await self._store()

    def __enter__(self) -> SessionMixin:
        return wait(self.__aenter__())

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc_type is None:
            wait(self.__aexit__(None, None, None))

    async def _open(self) -> SessionMixin:
        app = self._client.app
        outgoing = self._client.with_cookies(await build(app, self._client.environ_base, self._args, self._kwargs))
        self._outgoing = outgoing
        self._request = outgoing.received(app)
        async with app.request_context(self._request):
            session: SessionMixin | None = await app.ensure_async(app.session_interface.open_session)(
                app, self._request
            )
        if session is None:
            raise RuntimeError("the session interface opened no session: is app.secret_key set?")
        return session

    async def _store(self) -> None:
        app, interface = self._client.app, self._client.app.session_interface
        assert self._request is not None
        assert self._session is not None
        if interface.is_null_session(self._session):
            return
        response = app.response_class(b"")
        async with app.request_context(self._request):
            await app.ensure_async(interface.save_session)(app, self._session, response)
        self._client.take_cookies(self._outgoing, response.headers)
