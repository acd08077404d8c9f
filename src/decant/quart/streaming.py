"""Streams that keep their request: ``stream_with_context`` and streamed templates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

from quart import current_app, has_request_context, request
from quart.signals import before_render_template, template_rendered

from .exchange import exchange_of
from .versions import update_template_context

__all__ = ["stream_template", "stream_template_string", "stream_with_context"]


def stream_with_context(generator_or_function: Any) -> Any:
    """Keep ``request``, ``session`` and ``g`` while the response streams. Follows ``flask.stream_with_context``.

    Takes a generator, synchronous or asynchronous, or decorates a function that makes one. The context is kept, not
    copied: the teardown hooks run once, after the last byte. (Quart's own takes functions only, and streams with
    a new ``g`` after the teardown.)

    :raises RuntimeError: outside a request.
    """
    if callable(generator_or_function) and not isinstance(generator_or_function, Iterator | AsyncIterator):
        function: Callable[..., Any] = generator_or_function
        if not has_request_context():
            raise RuntimeError("stream_with_context can only be used while a request is handled, as in a view")

        @wraps(function)
        def make(*args: Any, **kwargs: Any) -> Any:
            return _kept(function(*args, **kwargs))

        return make
    return _kept(generator_or_function)


def _kept(generator: Any) -> Any:
    if not has_request_context():
        raise RuntimeError("stream_with_context can only be used while a request is handled, as in a view")
    exchange = exchange_of(request.scope)  # type: ignore[arg-type]
    if exchange is not None:
        exchange.keeps_context = True
    return generator


async def stream_template(template_name_or_list: Any, **context: Any) -> AsyncIterator[str]:
    """Render a template piece by piece, in the request's context. Follows ``flask.stream_template``."""
    return await _stream(current_app.jinja_env.get_or_select_template(template_name_or_list), context)


async def stream_template_string(source: str, **context: Any) -> AsyncIterator[str]:
    """:func:`stream_template` for a template given as text."""
    return await _stream(current_app.jinja_env.from_string(source), context)


async def _stream(template: Any, context: dict[str, Any]) -> AsyncIterator[str]:
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]
    await update_template_context(context)
    sent: dict[str, Any] = {"_sync_wrapper": app.ensure_async, "template": template, "context": context}
    await before_render_template.send_async(app, **sent)

    async def generate() -> AsyncIterator[str]:
        async for piece in template.generate_async(context):
            yield piece
        await template_rendered.send_async(app, **sent)

    pieces = generate()
    return stream_with_context(pieces) if has_request_context() else pieces
