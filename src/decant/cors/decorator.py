"""``cross_origin``: the rules of a single view."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

import flask
import quart

from ..context import in_flask_request
from .headers import EVALUATED, add_to
from .rules import PASSAGE, VIEW_MARK, options_of

__all__ = ["cross_origin"]

F = TypeVar("F", bound=Callable[..., Any])


def cross_origin(*args: Any, **options: Any) -> Callable[[F], F]:
    """Allow other origins to use a view, synchronous or ``async``, of Quart or Flask. Follows Flask-CORS.

    :param options: those of :class:`CORS` but ``resources`` and ``intercept_exceptions``; what is not given comes from
        ``CORS_*`` of the application's configuration. ``automatic_options=False`` leaves ``OPTIONS`` to the view.
    :raises ConfigError: (a ``ValueError``) while a request is handled, as :meth:`CORS.init_app`.

    What differs: errors that the view raises carry the headers, too.
    """

    def decorate(view: F) -> F:
        target: Any = view
        if options.get("automatic_options", True):
            target.required_methods = {*getattr(view, "required_methods", ()), "OPTIONS"}
            target.provide_automatic_options = False

        made: Any
        if iscoroutinefunction(view):

            @wraps(view)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                answer = _begin(options)
                return await view(*args, **kwargs) if answer is None else answer

            made = asynchronous
        else:

            @wraps(view)
            def synchronous(*args: Any, **kwargs: Any) -> Any:
                answer = _begin(options)
                return view(*args, **kwargs) if answer is None else answer

            made = synchronous
        setattr(made, VIEW_MARK, options)
        return made  # type: ignore[no-any-return]

    return decorate


def _begin(given: dict[str, Any]) -> Any:
    """Have the headers added to whatever becomes the response; return the answer to an ``OPTIONS`` request."""
    if _in_flask(given):
        app, request = flask.current_app, flask.request
        options = options_of(_object(app), given)
        flask.after_this_request(lambda response: _finish(response, options, request, request.environ))
    else:
        app, request = quart.current_app, quart.request  # type: ignore[assignment]
        options = options_of(_object(app), given)

        async def finish(response: Any) -> Any:
            return _finish(response, options, request, request.scope)  # type: ignore[attr-defined]

        quart.after_this_request(finish)
    if not options.automatic_options or request.method != "OPTIONS":
        return None
    adapter: Any = _object(app).create_url_adapter(_object(request))
    return app.response_class("", headers={"Allow": ", ".join(sorted(adapter.allowed_methods()))})


def _in_flask(given: dict[str, Any]) -> bool:
    """Flask may run inside of Quart's request; then the view itself tells whose it is."""
    if not in_flask_request():
        return False
    view = flask.current_app.view_functions.get(flask.request.endpoint or "")
    return not quart.has_request_context() or getattr(view, VIEW_MARK, None) is given


def _finish(response: Any, options: Any, request: Any, carrier: Any) -> Any:
    add_to(response, options, request.headers, request.method)
    setattr(response, EVALUATED, True)
    if PASSAGE in carrier:
        carrier[PASSAGE].evaluated = True
    return response


def _object(proxy: Any) -> Any:
    return proxy._get_current_object()
