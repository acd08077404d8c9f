"""From Flask's and Quart's keyword arguments to the request that the test client sends."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, cast
from urllib.parse import unquote, urljoin, urlsplit

from flask import Flask
from flask.testing import EnvironBuilder as FlaskBuilder
from quart import Quart
from quart.testing import make_test_scope, no_op_push
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.urls import iri_to_uri
from werkzeug.wrappers import Request as SentRequest

__all__ = ["Outgoing", "build", "request_for"]

if not mimetypes.inited:
    mimetypes.init()  # it reads files: on the event loop, with a first upload, it would block

Environ = dict[str, Any]
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
_BODY_KEYS = ("data", "input_stream", "files")
# What a WSGI environment can say and an ASGI scope as well.
_PORTABLE = {"REMOTE_ADDR", "REMOTE_PORT", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME"}
_PORTABLE |= {"SERVER_PORT", "SERVER_PROTOCOL", "CONTENT_TYPE", "CONTENT_LENGTH", "REQUEST_URI", "RAW_URI"}


@dataclass(frozen=True)
class Outgoing:
    """A request: ``path`` starts with ``root_path``, both unquoted; ``headers`` without the client's cookies."""

    method: str
    scheme: str
    server: tuple[str, int]
    client: tuple[str, int] | None
    root_path: str
    path: str
    query_string: str
    headers: Headers
    body: bytes
    http_version: str = "1.1"
    scope_base: dict[str, Any] | None = None

    @property
    def host(self) -> str:
        """The host name that the request is addressed to, without a port."""
        return urlsplit(self.url).hostname or "localhost"

    @property
    def url(self) -> str:
        """The whole address."""
        query = f"?{self.query_string}" if self.query_string else ""
        return f"{self.scheme}://{self.headers.get('Host') or self.server[0]}{self.path}{query}"

    def scope(self, kind: str = "http") -> dict[str, Any]:
        """The ASGI scope; what ``scope_base`` has goes before all else."""
        scope = make_test_scope(
            cast(Any, kind),
            self.path,
            self.method,
            self.headers,
            self.query_string.encode(),
            self.scheme,
            self.root_path,
            self.http_version,
            None,
        )
        return {
            **cast("dict[str, Any]", scope),
            "client": self.client,
            "server": self.server,
            **(self.scope_base or {}),
        }

    def sent(self) -> SentRequest:
        """The request for a test to look at, as Flask's ``response.request``."""
        builder = EnvironBuilder(
            path=self.path.removeprefix(self.root_path) or "/",
            base_url=f"{self.scheme}://{self.headers.get('Host') or self.server[0]}{self.root_path}/",
            query_string=self.query_string,
            method=self.method,
            headers=self.headers.copy(),
            input_stream=BytesIO(self.body),
            environ_base={"REMOTE_ADDR": self.client[0]} if self.client else None,
        )
        return builder.get_request()

    def received(self, app: Quart, send_push_promise: Any = no_op_push) -> Any:
        """The request as the application has it, without its body."""
        headers = Headers(self.headers)
        if self.client is not None:
            headers["Remote-Addr"] = self.client[0]  # as Quart's connections do
        return app.request_class(
            self.method,
            self.scheme,
            self.path.removeprefix(self.root_path),
            self.query_string.encode(),
            headers,
            self.root_path,
            self.http_version,
            send_push_promise=send_push_promise,
            scope=cast(Any, self.scope()),
        )

    def redirected(self, location: str, status: int, *, subdomains: bool) -> Outgoing:
        """The request that follows a redirect, with Flask's rules.

        :raises RuntimeError: to another host; to a subdomain, unless ``subdomains``.
        """
        target = urlsplit(urljoin(self.url, location))
        host = target.hostname or self.host
        if host != self.host:
            if not host.endswith(f".{self.host}"):
                raise RuntimeError(f"a redirect to another host is not followed: {location}")
            if not subdomains:
                raise RuntimeError(
                    f"a redirect to a subdomain is followed with allow_subdomain_redirects=True only: {location}"
                )
        headers = Headers(self.headers)
        headers["Host"] = target.netloc.rpartition("@")[2]
        path = unquote(target.path) or "/"
        inside = f"{path}/".startswith(f"{self.root_path}/")
        following = replace(
            self,
            scheme=target.scheme,
            path=path,
            root_path=self.root_path if inside else "",
            query_string=target.query,
            headers=headers,
        )
        if status in {307, 308}:
            return following
        for name in ("Content-Type", "Content-Length", "Transfer-Encoding"):
            headers.remove(name)
        return replace(following, method="HEAD" if self.method == "HEAD" else "GET", body=b"")


async def build(app: Quart, environ_base: Environ, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outgoing:
    """The request that the arguments of ``client.open`` describe; files are read in a thread."""
    if (args and isinstance(args[0], EnvironBuilder)) or any(_may_block(kwargs.get(key)) for key in _BODY_KEYS):
        return await asyncio.to_thread(_build, app, environ_base, args, kwargs)
    return _build(app, environ_base, args, kwargs)


def request_for(app: Quart, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The application's request, whole, that the arguments of ``app.test_request_context`` describe.

    They are those of ``client.open``, and Quart's ``send_push_promise``. Its address is ``None`` unless given,
    as in Flask.
    """
    kwargs = dict(kwargs)
    send_push_promise = kwargs.pop("send_push_promise", no_op_push)
    outgoing = _build(app, {}, args, kwargs)
    request = outgoing.received(app, send_push_promise)
    request.body.set_result(outgoing.body)
    return request


def _may_block(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_may_block(item) for items in MultiDict(value).listvalues() for item in items)
    return value is not None and not isinstance(value, str | bytes | int | float)


def _build(app: Quart, environ_base: Environ, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outgoing:
    kwargs = dict(kwargs)
    own = {name: kwargs.pop(name) for name in ("http_version", "scope_base") if name in kwargs}
    root_path = kwargs.pop("root_path", "")
    builder = _builder(app, environ_base, args, kwargs)
    try:
        outgoing = _outgoing(builder)
    finally:
        builder.close()
    if root_path:  # Quart's: the path is the whole one
        outgoing = replace(outgoing, root_path=root_path, path=outgoing.path.removeprefix(outgoing.root_path))
    return replace(outgoing, **own)


def _builder(app: Quart, environ_base: Environ, args: tuple[Any, ...], kwargs: dict[str, Any]) -> EnvironBuilder:
    """Flask's own builder does Flask's arguments; it needs no more of an application than Quart's has."""
    first = args[0] if args else None
    flask_app = cast(Flask, app)
    if isinstance(first, EnvironBuilder):
        first.environ_base = {**environ_base, **(first.environ_base or {})}
        return first
    if isinstance(first, SentRequest):
        first = first.environ
    if isinstance(first, dict):
        return FlaskBuilder.from_environ({**environ_base, **first}, app=flask_app, environ_base=environ_base)
    for given in (kwargs.get("environ_base"), kwargs.get("environ_overrides")):
        _check_portable(given or {})
    kwargs["environ_base"] = {**environ_base, **(kwargs.get("environ_base") or {})}
    _take_quarts(app, kwargs)
    if len(args) > 1 and args[1] in _METHODS:
        args, kwargs["method"] = (first, *args[2:]), args[1]
    if kwargs.get("headers") is not None:
        kwargs["headers"] = Headers(kwargs["headers"])  # the builder writes into it
    if isinstance(kwargs.get("query_string"), bytes):
        kwargs["query_string"] = kwargs["query_string"].decode()
    return FlaskBuilder(flask_app, *args, **kwargs)


def _check_portable(environ: Environ) -> None:
    for key in environ:
        if key not in _PORTABLE and not key.startswith(("HTTP_", "wsgi.", "werkzeug.")):
            raise ValueError(
                f"{key!r} of a WSGI environment has no counterpart in ASGI: send a header instead, or give Quart's"
                " scope_base and read request.scope"
            )


def _take_quarts(app: Quart, kwargs: dict[str, Any]) -> None:
    """Quart's ``scheme``, ``form`` and ``files``, and its ``json=None``, in Flask's terms."""
    if "scheme" in kwargs:
        kwargs["url_scheme"] = kwargs.pop("scheme")
    form, files = kwargs.pop("form", None), kwargs.pop("files", None)
    if form is not None or files is not None:
        if kwargs.get("data") is not None or kwargs.get("json") is not None:
            raise ValueError("form= and files= describe the whole body: give neither data= nor json= with them")
        data: MultiDict[str, Any] = MultiDict(form or {})
        for key, value in _pairs(files or {}):
            data.add(key, value)
        kwargs["data"] = data
    if "json" in kwargs and kwargs["json"] is None and not app.config.get("FLASK_COMPAT", True):
        del kwargs["json"]
        kwargs |= {"data": b"null", "content_type": kwargs.get("content_type") or "application/json"}


def _pairs(files: Any) -> Iterable[tuple[str, Any]]:
    return MultiDict(files).items(multi=True)


def _outgoing(builder: EnvironBuilder) -> Outgoing:
    environ = builder.get_environ()
    scheme = environ["wsgi.url_scheme"]
    root_path = _text(environ["SCRIPT_NAME"]).rstrip("/")
    address = environ.get("REMOTE_ADDR")
    stream = environ["wsgi.input"]
    body = stream.read()
    if stream is not builder.input_stream:
        stream.close()  # a temporary file, if large
    return Outgoing(
        method=environ["REQUEST_METHOD"],
        scheme=scheme,
        server=(environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
        client=(address, int(environ.get("REMOTE_PORT", 0))) if address else None,
        root_path=root_path,
        path=f"{root_path}/{_text(environ['PATH_INFO']).removeprefix('/')}",
        query_string=iri_to_uri(f"?{_text(environ['QUERY_STRING'])}").removeprefix("?"),
        headers=_headers(builder.headers, environ, builder.environ_overrides or {}),
        body=body,
    )


def _text(value: str) -> str:
    """Undo PEP 3333's "bytes as latin-1"."""
    return value.encode("latin-1").decode(errors="replace")


def _headers(given: Headers, environ: Environ, overrides: Mapping[str, Any]) -> Headers:
    headers, done = Headers(), set(overrides)
    for name, value in given:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        if key not in overrides and key not in {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}:
            headers.add(name, value)
            done.add(key)
    for key, value in environ.items():
        if key.startswith("HTTP_") and (key not in done or key in overrides):
            headers.add(key.removeprefix("HTTP_").replace("_", "-").title(), str(value))
    for key, name in (("CONTENT_TYPE", "Content-Type"), ("CONTENT_LENGTH", "Content-Length")):
        if environ.get(key):
            headers[name] = environ[key]
    return headers
