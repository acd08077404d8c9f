"""The test client: Flask's, awaited."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http.cookiejar import CookieJar
from importlib.metadata import version
from types import TracebackType
from typing import Any, cast

import quart.globals
from quart import Quart
from quart.testing import QuartClient
from quart.testing.connections import TestHTTPConnection
from quart.typing import TestWebsocketConnectionProtocol
from werkzeug.datastructures import Headers
from werkzeug.test import ClientRedirectError

from ..bridge import wait
from . import cookies
from .contexts import Exchange, Kept, drop_ended
from .outgoing import Outgoing, build
from .responses import TestResponse, response_class
from .sessions import SessionTransaction

__all__ = ["Client"]

_USER_AGENT = f"Werkzeug/{version('werkzeug')}"  # Flask's
_IN_GROUPS = not hasattr(quart.globals, "request_ctx")  # Quart 0.23 runs each request in a TaskGroup
_REDIRECTS = {301, 302, 303, 305, 307, 308}


class Client(QuartClient):
    """Follows ``flask.testing.FlaskClient``; what differs: ``open`` and its kin are awaited, and the whole body has
    arrived when they return, so that ``buffered`` changes nothing. Quart's own client is its base, and Quart's
    keyword arguments work beside Flask's.

    Where the two contradict each other, Flask's way holds: an exception that the application does not handle
    is raised in the test if ``TESTING``, ``DEBUG`` or ``PROPAGATE_EXCEPTIONS`` is set; redirects are followed as
    browsers do it; the cookies' methods take Flask's arguments (and, where they cannot be mistaken, Quart's). With
    ``app.config["FLASK_COMPAT"] = False``, exceptions become Quart's response of status 500, and ``json=None`` is
    sent as ``null``.

    :param use_cookies: keep the cookies of responses and send them with later requests.
    :param allow_subdomain_redirects: follow redirects to subdomains of the request's host.
    """

    def __init__(self, app: Quart, use_cookies: bool = True, *, allow_subdomain_redirects: bool = False) -> None:
        super().__init__(app, use_cookies=use_cookies)
        self.allow_subdomain_redirects = allow_subdomain_redirects
        self.environ_base: dict[str, Any] = {
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_USER_AGENT": _USER_AGENT,
        }
        self._kept: list[Kept] = []

    @property
    def application(self) -> Quart:
        """Flask's name for :attr:`app`."""
        return self.app

    async def open(
        self, *args: Any, buffered: bool = False, follow_redirects: bool = False, **kwargs: Any
    ) -> TestResponse:
        """Send a request; return the response.

        The arguments are those of ``flask.testing.EnvironBuilder``: ``path``, ``base_url``, ``subdomain``,
        ``url_scheme``, ``query_string`` (str, dict), ``method`` (may come second, too), ``headers``, ``data`` (str,
        bytes, a file; a dict or ``MultiDict`` of values, files, ``FileStorage``, tuples ``(file, name, type)``, and
        lists of these), ``json``, ``content_type``, ``mimetype``, ``auth``, ``environ_base`` and ``environ_overrides``
        (``REMOTE_ADDR``, ``HTTP_*``, …), ``input_stream``; or one builder, WSGI environment or Werkzeug request. Also
        Quart's ``form``, ``files``, ``scheme``, ``root_path``, ``http_version``, ``scope_base``.

        :raises ValueError: for a key of ``environ_base`` or ``environ_overrides`` that ASGI cannot say.
        :raises ClientRedirectError: if redirects go round in a circle.
        """
        self.push_promises = []
        outgoing = await build(self.app, self.environ_base, args, kwargs)
        await self._forget()
        response = await self._send(outgoing)
        history: list[TestResponse] = []
        seen: set[tuple[str, int]] = set()
        while follow_redirects and response.status_code in _REDIRECTS:
            step = (response.location or "", response.status_code)
            if step in seen:
                raise ClientRedirectError(f"a redirect of status {step[1]} to {step[0]} was already followed")
            seen.add(step)
            response.history = tuple(history)
            history.append(response)
            outgoing = outgoing.redirected(*step, subdomains=self.allow_subdomain_redirects)
            await self._forget()
            response = await self._send(outgoing)
        response.history = tuple(history)
        return response

    async def _send(self, outgoing: Outgoing) -> TestResponse:
        exchange, failure = Exchange(self.app), None
        try:
            response = await self._receive(self.with_cookies(outgoing), exchange)
        except Exception as error:
            failure = error
        if exchange.error is not None and self._raises():
            raise exchange.error
        if failure is not None:
            raise _as_it_was(failure)
        response.request = outgoing.sent()
        response.json_module = self.app.json  # type: ignore[assignment]
        self.take_cookies(outgoing, response.headers)
        if self.preserve_context and exchange.contexts:
            self._kept.append(Kept(exchange.contexts))
            await self._kept[-1].begin()
        return response

    async def _receive(self, outgoing: Outgoing, exchange: Exchange) -> TestResponse:
        connection = cast("type[TestHTTPConnection]", self.http_connection_class)(self.app, cast(Any, outgoing.scope()))
        with exchange.watching():
            async with connection:
                await connection.send(outgoing.body)
                await connection.send_complete()
        self.push_promises.extend(connection.push_promises)
        if connection.status_code is None or connection.headers is None:
            raise RuntimeError(f"the application ended without an answer to {outgoing.method} {outgoing.url}")
        body = b"" if outgoing.method == "HEAD" else bytes(connection.response_data)
        return response_class(self.app.response_class)(body, connection.status_code, connection.headers)

    def _raises(self) -> bool:
        config = self.app.config
        propagate = config.get("PROPAGATE_EXCEPTIONS")
        if propagate is None:
            propagate = self.app.testing or self.app.debug
        return bool(propagate) and bool(config.get("FLASK_COMPAT", True))

    async def _forget(self) -> None:
        while self._kept:  # several, after requests in parallel
            await self._kept.pop().end()
        drop_ended()

    def websocket(self, path: str, **kwargs: Any) -> TestWebsocketConnectionProtocol:
        """Quart's, from the address 127.0.0.1."""
        address = self.environ_base.get("REMOTE_ADDR")
        scope_base = {"client": (address, 0)} if address else {}
        return super().websocket(path, **{**kwargs, "scope_base": scope_base | (kwargs.get("scope_base") or {})})

    def session_transaction(self, *args: Any, **kwargs: Any) -> SessionTransaction:  # type: ignore[override]
        """Change the session that the next request will have: ``async with client.session_transaction() as session:``.

        Plain ``with`` works too where synchronous code may wait: in tests of the pytest plugin, and without a loop.
        The arguments are those of :meth:`open`.

        :raises TypeError: if the client keeps no cookies.
        :raises RuntimeError: if the application has no secret key.
        """
        self._jar()
        return SessionTransaction(self, args, kwargs)

    def _jar(self) -> CookieJar:
        if self.cookie_jar is None:
            raise TypeError("this client keeps no cookies: make it with use_cookies=True")
        return self.cookie_jar

    def with_cookies(self, outgoing: Outgoing) -> Outgoing:
        """The request with the cookies that apply to it, after those of its own."""
        value = cookies.header_for(self.cookie_jar, outgoing.host, outgoing.path) if self.cookie_jar is not None else ""
        headers = Headers(outgoing.headers)
        if value:
            given = headers.get("Cookie")
            headers["Cookie"] = f"{given}; {value}" if given else value
        return replace(outgoing, headers=headers)

    def take_cookies(self, outgoing: Outgoing, headers: Headers) -> None:
        """Keep what a response to this request sets."""
        for header in headers.getlist("Set-Cookie"):
            if self.cookie_jar is not None:
                cookies.store(self.cookie_jar, outgoing.host, outgoing.path, header)

    def get_cookie(self, key: str, domain: str = "localhost", path: str = "/") -> cookies.Cookie | None:
        """The cookie of this name that was set for this domain and path, if any.

        :raises TypeError: if the client keeps no cookies.
        """
        return cookies.find(self._jar(), key, domain, path)

    def set_cookie(  # type: ignore[override]
        self,
        key: str,
        value: str = "",
        *quarts: Any,
        domain: str | None = "localhost",
        origin_only: bool = True,
        path: str = "/",
        **kwargs: Any,
    ) -> None:
        """Set a cookie, sent to ``domain`` (and subdomains, unless ``origin_only``) below ``path``.

        ``kwargs`` are those of Werkzeug's ``dump_cookie``. Quart's form, ``set_cookie(server_name, key, value)``, is
        recognised by its third argument or by the name of its first.

        :raises TypeError: if the client keeps no cookies.
        """
        server_name = kwargs.pop("server_name", None)
        if quarts:
            server_name, key, (value, *rest) = key, value, quarts
            kwargs |= dict(zip(("max_age", "expires"), rest, strict=False))
        if server_name is not None:
            origin_only = domain in {None, "localhost"}
            domain = server_name if origin_only else domain
        cookies.store_value(self._jar(), key, value, domain or "localhost", origin_only, path=path, **kwargs)

    def delete_cookie(  # type: ignore[override]
        self, key: str, *quarts: Any, domain: str | None = "localhost", path: str = "/", server_name: str | None = None
    ) -> None:
        """Delete the cookie of this name that was set for this domain and path, if any.

        Quart's form, ``delete_cookie(server_name, key)``, is recognised by its second argument.

        :raises TypeError: if the client keeps no cookies.
        """
        if quarts:
            server_name, key, *rest = key, *quarts
            path, domain = (*rest, path, domain)[:2] if rest else (path, domain)
        cookies.delete(
            self._jar(), key, (server_name if domain in {None, "localhost"} else domain) or "localhost", path
        )

    def __enter__(self) -> Client:
        """Keep each request's contexts until the next: ``g``, ``request``, ``session`` and ``url_for`` still work.

        :raises RuntimeError: in a block already; or on an event loop outside a bridge, where only ``async with`` can be
            used, since the end of the block waits for teardown functions.
        """
        wait(asyncio.sleep(0))
        return self._enter()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.preserve_context = False
        wait(self._forget())

    async def __aenter__(self) -> Client:
        """As ``with``, anywhere on the loop."""
        return self._enter()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.preserve_context = False
        await self._forget()

    def _enter(self) -> Client:
        if self.preserve_context:
            raise RuntimeError("this client's with block is entered already: it cannot be nested in itself")
        self.preserve_context = True
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app!r}>"


def _as_it_was(error: Exception) -> Exception:
    """What failed after the view, as in a stream: without the group that Quart puts around it, as in Flask."""
    if _IN_GROUPS and isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return error.exceptions[0]
    return error
