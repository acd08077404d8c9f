"""The request and the WebSocket, where Quart's answer to bad input differs from Flask's without need."""

from __future__ import annotations

from typing import Any

import quart
from quart import current_app
from quart.formparser import FormDataParser as QuartFormDataParser
from werkzeug.datastructures import Authorization, MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from ..bridge import bridged
from .body import Body
from .exchange import exchange_of
from .uploads import for_part

__all__ = ["FormDataParser", "Request", "Websocket", "flask_compat"]

_NOT_JSON = (
    "Did not attempt to load JSON data because the request Content-Type was not 'application/json'."
    " Call get_json(force=True) to load it nevertheless."
)
_URLENCODED = {"application/x-www-form-urlencoded", "application/x-url-encoded"}
_UNREAD: Any = object()


def flask_compat() -> bool:
    """Whether Flask's way is taken where Flask and Quart contradict each other: ``FLASK_COMPAT``."""
    return bool(current_app.config.get("FLASK_COMPAT", True)) if current_app else True


class FormDataParser(QuartFormDataParser):
    """Quart's, which holds URL-encoded forms to ``max_form_memory_size``, too, as Flask's does.

    Files are :class:`~decant.quart.uploads.Upload`, unless a ``stream_factory`` is given.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"stream_factory": for_part, **options})
        factory, begun = self.stream_factory, list[Any]()
        self._begun = begun

        def noting(*args: Any, **kwargs: Any) -> Any:
            begun.append(factory(*args, **kwargs))
            return begun[-1]

        self.stream_factory = noting

    async def parse(
        self, body: Any, mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        limit = self.max_form_memory_size
        if mimetype in _URLENCODED and limit is not None and len(await body) > limit:
            raise RequestEntityTooLarge
        whole: set[int] = set()
        try:
            # In the bridge: Python 3.11's wait_for, which calls this, starts a task.
            form, files = await bridged(super().parse(body, mimetype, content_length, options))
            whole = {id(file.stream) for _, file in files.items(multi=True)}
            return form, files
        finally:
            for file in self._begun:  # the request closes those that it has; these were cut off
                if id(file) not in whole:
                    file.close()
            self._begun.clear()


class Request(quart.Request):
    """``quart.Request``, which answers 400, 413 and 415 where Flask's does.

    ``max_content_length`` may be set in the view, before the body is read, as in Flask 3.1.
    """

    body_class = Body  # type: ignore[assignment]
    form_data_parser_class = FormDataParser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loaded_json: Any = _UNREAD
        if isinstance(self.body, Body):
            self.body.timeout_s = self.body_timeout

    @property
    def max_content_length(self) -> int | None:
        """The longest body that may be read, in bytes; ``None`` for any."""
        return super().max_content_length

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        quart.Request.max_content_length.fset(self, value)  # type: ignore[attr-defined]
        if isinstance(self.body, Body):
            self.body.limit = value

    @property
    def authorization(self) -> Authorization | None:
        """The ``Authorization`` header; ``None`` also where it is not what it says, as Basic that is not ASCII."""
        try:
            return super().authorization
        except ValueError:
            return None

    async def get_data(  # type: ignore[override]
        self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False
    ) -> str | bytes:
        """The body, as bytes or text; bytes that are not UTF-8 are replaced.

        With ``parse_form_data``, a form is parsed first and leaves nothing (``FLASK_COMPAT``).
        """
        if parse_form_data and flask_compat():
            parser = self.make_form_data_parser()
            if parser.get_parse_func(self.mimetype, self.mimetype_params) is not None:
                await self.form
                return "" if as_text else b""
        data = await super().get_data(cache=cache, as_text=False, parse_form_data=parse_form_data)
        return data.decode(errors="replace") if as_text else data

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body, parsed as JSON.

        :raises werkzeug.exceptions.UnsupportedMediaType: unless the body is said to be JSON, or ``force``
            (``FLASK_COMPAT``; else the result is ``None``).
        :raises werkzeug.exceptions.BadRequest: if it is not JSON, not UTF-8, nested too deeply for the parser, or
            has half of a surrogate pair, which is no text.
        """
        if cache and self._loaded_json is not _UNREAD:
            return self._loaded_json
        if not (force or self.is_json):
            return None if silent or not flask_compat() else self.on_json_loading_failed(None)
        data = await self.get_data(cache=cache)
        try:
            result = self._parse_json(data)
        except ValueError as error:
            return None if silent else self.on_json_loading_failed(error)
        if cache:
            self._loaded_json = result
        return result

    def _parse_json(self, data: str | bytes) -> Any:
        try:
            result = self.json_module.loads(data)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None
        if rb"\u" in data:
            refuse_half_surrogates(result)
        return result

    def on_json_loading_failed(self, error: Exception | None) -> Any:
        """What :meth:`get_json` gives for a body that is not JSON; ``None`` says that it was not even tried."""
        if error is None:
            raise UnsupportedMediaType(_NOT_JSON)
        if current_app and current_app.debug:
            raise BadRequest(f"Failed to decode JSON object: {error}")
        raise BadRequest


def refuse_half_surrogates(value: Any) -> None:
    """Raise ``ValueError`` if a string in it cannot be encoded: no database or peer would take it."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            rest += value
            rest += value.values()


class Websocket(quart.Websocket):
    """``quart.Websocket``, which knows how it was closed, and lets no more arrive than its handler reads."""

    async def receive(self) -> str | bytes:
        """The next message."""
        message = await super().receive()
        exchange = exchange_of(self.scope)  # type: ignore[arg-type]
        if exchange is not None and exchange.backlog is not None:
            exchange.backlog.take(message)
        return message

    @property
    def close_code(self) -> int | None:
        """The code that it was closed with: 1005 where the client gave none, ``None`` while it is open.

        It is 1001 where the server stops, 1008 where too many messages were not read. Quart cancels the handler then:
        read it in ``finally``, or in ``teardown_websocket``.
        """
        exchange = exchange_of(self.scope)  # type: ignore[arg-type]
        return exchange.close_code if exchange else None

    @property
    def close_reason(self) -> str:
        """The text that came with :attr:`close_code`, mostly empty."""
        exchange = exchange_of(self.scope)  # type: ignore[arg-type]
        return exchange.close_reason if exchange else ""
