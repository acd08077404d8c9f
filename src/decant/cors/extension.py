"""``CORS``: the rules of an application or a blueprint."""

from __future__ import annotations

from typing import Any, Final

import flask
import quart

from ..context import on_quart
from .doors import AsgiDoor, WsgiDoor
from .headers import add_to
from .options import merged, read, read_resources
from .rules import PASSAGE, Resources, Rules, view_options

__all__ = ["CORS"]

_EXTENSION: Final = "decant.cors"


class CORS:
    """Lets scripts of other origins use an application or a blueprint, Quart's or Flask's. Follows Flask-CORS 6.

    An option of a resource wins over one of ``init_app``, that over one given here, that over ``CORS_*`` of
    ``app.config`` (where it is not None), that over the default.

    :param app: initialised at once, if given.
    :param resources: the paths: a literal one, a regular expression (compiled, or a string with any of
        ``*\\]?$^[]()``), a list of these, or a dictionary with the options of each. Default ``r"/*"``: every path.
    :param origins: ``"*"``, or one or several of literal origins and regular expressions; their case is ignored.
    :param methods: one or several; by default GET, HEAD, POST, OPTIONS, PUT, PATCH and DELETE.
    :param allow_headers: which request headers are allowed, as ``origins``. Default ``"*"``.
    :param expose_headers: which response headers scripts may read. Default None.
    :param supports_credentials: allow cookies. Default False.
    :param max_age: how long browsers keep the answer to a preflight request: seconds, or a timedelta. Default None.
    :param send_wildcard: answer ``*`` instead of the origin, where all are allowed. Default False.
    :param vary_header: say ``Vary: Origin`` where the answer depends on it. Default True.
    :param always_send: add the headers where the request names no origin, too. Default True.
    :param intercept_exceptions: add the headers to responses that no hook of the application has seen. Default True.
    :param allow_private_network: what to answer to ``Access-Control-Request-Private-Network``. Default False.
    :param automatic_options: False leaves preflight requests to the application. Default True.

    What differs: preflight requests are answered before the application takes the request, so before any
    ``before_request`` function, limit, session or view; those of ``cross_origin`` views, too, in an application that
    has a ``CORS``.
    """

    def __init__(self, app: Any = None, **options: Any) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any, **options: Any) -> None:
        """Set up an application, whose configuration must be complete by now, or a blueprint before it is registered.

        :raises ConfigError: (a ``ValueError``) for an invalid regular expression or ``max_age``, or for credentials
            and ``send_wildcard`` where every origin is allowed.
        :raises ValueError: if ``resources`` is nothing of the kind.
        :raises TypeError: if ``app`` is neither an application nor a blueprint.
        """
        of_blueprint = isinstance(app, flask.Blueprint | quart.Blueprint)
        quarts = isinstance(app, quart.Blueprint) if of_blueprint else on_quart(app)
        config = {} if of_blueprint else app.config
        resources = _resources(config, self._options, options)
        app.after_request(_quart_hook(resources) if quarts else _flask_hook(resources))
        if of_blueprint:
            app.record(lambda state: _add_blueprint(state, resources))
        else:
            rules_of(app).of_app.append(resources)


def _resources(config: Any, *given: dict[str, Any]) -> Resources:
    options = merged(config, *given)
    paths = [
        (path, read(merged(config, *given, special))) for path, special in read_resources(options.get("resources"))
    ]
    return Resources(paths, intercepts=read(options).intercept_exceptions)


def rules_of(app: Any) -> Rules:
    """The rules of an application, whose door is made with the first of them."""
    rules: Rules | None = app.extensions.get(_EXTENSION)
    if rules is None:
        rules = app.extensions[_EXTENSION] = Rules()
        if on_quart(app):
            app.asgi_app = AsgiDoor(app, rules)
        else:
            app.wsgi_app = WsgiDoor(app, rules)
    return rules


def _add_blueprint(state: Any, resources: Resources) -> None:
    name = f"{state.name_prefix}.{state.name}".lstrip(".")
    rules_of(state.app).of_blueprints.setdefault(name, []).append(resources)


def _quart_hook(resources: Resources) -> Any:
    async def cors_after_request(response: Any) -> Any:
        request = quart.request
        return _add(resources, response, quart.current_app, request, request.scope)

    return cors_after_request


def _flask_hook(resources: Resources) -> Any:
    def cors_after_request(response: Any) -> Any:
        request = flask.request
        return _add(resources, response, flask.current_app, request, request.environ)

    return cors_after_request


def _add(resources: Resources, response: Any, app: Any, request: Any, carrier: Any) -> Any:
    own = view_options(app._get_current_object(), request.endpoint)  # of an error raised before its cross_origin ran
    options = own or resources.options(request.path)
    if options is not None:
        add_to(response, options, request.headers, request.method)
    if PASSAGE in carrier:
        carrier[PASSAGE].evaluated = True
    return response
