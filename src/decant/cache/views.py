"""``cached``: views, whose requests and responses say more than their arguments do, and functions by one key."""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import flask
import quart
from werkzeug.exceptions import HTTPException

from ..context import current_app, current_request, has_app, has_request
from ..faces import called
from . import signals
from .calls import Call, Rules
from .entries import StoredError, StoredResponse
from .identity import has_identity, session_now, user_key
from .responses import (
    Uncacheable,
    add_vary,
    conditional,
    freeze,
    is_response,
    made_response,
    sets_cookie,
    thaw,
    ttl_of,
    with_headers,
)
from .utils import QueryArgs, get_arg_names, normalize_timeout, query_args_as_pairs, source_of

if TYPE_CHECKING:
    from .extension import Cache

__all__ = ["ViewCall", "ViewRules", "cached"]


logger = logging.getLogger("decant.cache")
_said: WeakSet[Any] = WeakSet()


@dataclass(frozen=True)
class ViewRules(Rules):
    """What only ``cached`` has."""

    key_prefix: str | Callable[[], Any] = "view/%s"
    query_string: bool = False
    hash_method: Callable[..., Any] | None = None
    make_cache_key: Callable[..., Any] | None = None
    source_check: bool | None = None
    response_hit_indication: bool = False
    vary: Sequence[str] = ()
    per_user: bool | Callable[[], Any] = False
    etag: bool = False
    cache_control: bool | str = False
    ignore_identity: bool | None = None

    @property
    def responds(self) -> bool:
        """Whether what the view returns becomes a response, since its headers are ours to set."""
        return bool(self.etag or self.cache_control or self.vary)

    @property
    def is_for_views(self) -> bool:
        """Whether the options alone say that the function is a view."""
        prefix = self.key_prefix
        own_key = callable(prefix) or bool(self.make_cache_key)
        by_path = not own_key and (self.query_string or "%s" in str(prefix))
        return bool(by_path or self.responds or self.per_user or self.response_hit_indication)

    @property
    def keys_by_method(self) -> bool:
        """Whether the key is one's own, which may tell a POST from a GET."""
        return callable(self.key_prefix) or bool(self.make_cache_key)


@dataclass
class ViewCall(Call):
    kind = "view"
    rules: ViewRules
    decorated: Any = None
    user: str | None = None
    session: Any = None

    # -- keys --------------------------------------------------------------------------------------------------

    async def find_key(self) -> str:
        rules = self.rules
        if callable(rules.make_cache_key):
            key = await called(rules.make_cache_key, *self.args, **self.kwargs)
        else:
            key = await called(self.decorated.make_cache_key, *self.args, use_request=True, **self.kwargs)
        if rules.vary:
            headers = current_request().headers
            text = "\n".join(f"{name.lower()}:{headers.get(name, '')}" for name in rules.vary)
            # In front, where no path can forge it.
            key = f"vary:{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}:{key}"
        if self.user is not None:
            key = f"user:{self.user}:{key}"
        return str(key)

    # -- whose answer it is ------------------------------------------------------------------------------------

    def _is_view(self) -> bool:
        if not has_request() or quart.has_websocket_context():
            return False
        if self.rules.is_for_views:
            return True
        view = current_app().view_functions.get(current_request().endpoint)
        return view is not None and inspect.unwrap(view) is inspect.unwrap(self.f)

    def _ignores_identity(self) -> bool:
        own = self.rules.ignore_identity
        return self.state.settings.ignore_identity if own is None else own

    async def bypassed(self) -> bool:
        if await super().bypassed():
            return True
        if not self._is_view():
            return False
        if not self._ignores_identity():
            self.session = session_now()
        if self.rules.per_user:
            self.user = await user_key(self.state.settings, self.rules.per_user)
            if self.user is None:
                return True
        elif not self._ignores_identity() and has_identity():
            self._say_who_asks()
            return True
        method = getattr(current_request(), "method", "GET")
        return method not in ("GET", "HEAD", "OPTIONS") and not self.rules.keys_by_method

    def _say_who_asks(self) -> None:
        """Once per function: who comes from Flask-Caching, or gives everybody a session, wonders."""
        if self.f not in _said:
            _said.add(self.f)
            logger.info(
                "%s is not cached for requests with a session or Authorization, as its answer may be for one user:"
                " per_user=True keeps one for each, ignore_identity=True or CACHE_IGNORE_IDENTITY one for all",
                getattr(self.f, "__qualname__", self.f),
            )

    # -- values ------------------------------------------------------------------------------------------------

    async def compute(self) -> Any:
        try:
            return await super().compute()
        except HTTPException as error:
            return error

    def filtered(self, value: Any) -> Any:
        return value.get_response() if isinstance(value, HTTPException) else value

    async def shown(self, value: Any) -> Any:
        return thaw(value)

    async def _wanted(self, value: Any) -> bool:
        if self.refreshes and isinstance(value, HTTPException) and (value.code or 500) >= 500:
            return False  # what is stale is better than an error
        return await super()._wanted(value)

    async def packed(self, value: Any) -> tuple[Any, float | None]:
        asked_s = ttl_of(value)
        if self._is_view() and not self._ignores_identity() and (sets_cookie(value) or session_now() != self.session):
            raise Uncacheable("the response sets a cookie")
        if self.rules.responds and not isinstance(value, HTTPException):
            value = await made_response(value)
        stored = await freeze(value)
        if isinstance(stored, StoredResponse) and self.rules.responds:
            stored = with_headers(stored, etag=self.rules.etag, vary=self.rules.vary)
        return stored, asked_s

    def needs_entry(self) -> bool:
        return super().needs_entry() or self.rules.cache_control is True

    async def finished(self, value: Any, *, stored: bool) -> Any:
        ttl_of(value)  # its timeout is for sending again
        if isinstance(value, StoredResponse | StoredError | tuple) or is_response(value):
            value = thaw(value)
        if isinstance(value, HTTPException):
            raise value
        if not (self.rules.responds and has_request()):
            return value
        response = await made_response(value)
        add_vary(response.headers, self.rules.vary)
        if stored:
            self._set_cache_control(response)
        return await conditional(response, current_request()) if self.rules.etag else response

    def _set_cache_control(self, response: Any) -> None:
        rule = self.rules.cache_control
        if not rule or "Cache-Control" in response.headers:
            return
        if rule is True:
            left_s = self.entry.left_s(time.time()) if self.entry is not None else 0
            age = "max-age=31536000" if left_s == float("inf") else f"max-age={max(0, int(left_s))}"
            rule = f"{'private' if self.rules.per_user else 'public'}, {age}"
        response.headers["Cache-Control"] = rule

    async def announced(self, hit: bool) -> None:
        signal = signals.cache_view_hit if hit else signals.cache_view_miss
        await self.state.send(signal, cache_key=self.key, args=self.args, kwargs=dict(self.kwargs))

    async def run(self) -> Any:
        if self._is_view() and (
            self.rules.response_hit_indication or self.rules.per_user or not self._ignores_identity()
        ):
            self._after_request()
        return await super().run()

    def _after_request(self) -> None:
        async def changed(response: Any) -> Any:
            return self._with_headers(response)

        if self.state.of_quart:
            quart.after_this_request(changed)
        else:
            flask.after_this_request(self._with_headers)

    def _with_headers(self, response: Any) -> Any:
        if self.was_hit and self.rules.response_hit_indication:
            response.headers["hit_cache"] = "True"
        if self.rules.per_user or not self._ignores_identity():
            add_vary(response.headers, ["Cookie"])  # caches on the way must tell users apart as well
        return response


class Keys:
    """Makes the keys of one decorated function: those that Flask-Caching makes."""

    def __init__(self, cache: Cache, f: Callable[..., Any], rules: ViewRules) -> None:
        self.cache, self.f, self.rules = cache, f, rules

    def __call__(self, *args: Any, use_request: bool = False, **kwargs: Any) -> Any:
        """The key of a call; outside a request of ``path`` and, with ``query_string``, of ``query_args``."""
        path = query_args = None
        if not use_request:
            path, query_args = kwargs.pop("path", None), kwargs.pop("query_args", None)
        kwargs |= dict(zip(get_arg_names(self.f), args, strict=False))
        prefix: Any = self.rules.key_prefix
        if callable(prefix):
            prefix = prefix()
        elif "%s" in prefix:
            prefix = prefix % self._path(path, use_request, kwargs)
        if inspect.isawaitable(prefix):
            return self._awaited(prefix, query_args)
        return self._with_suffix(prefix, query_args)

    async def _awaited(self, prefix: Any, query_args: QueryArgs | None) -> str:
        return self._with_suffix(await prefix, query_args)

    def _path(self, path: str | None, use_request: bool, kwargs: dict[str, Any]) -> str:
        if path is not None:
            return path
        if use_request or self.rules.query_string:
            found: str = current_request().path
            return found
        url_for = flask.url_for if has_app() and isinstance(current_app(), flask.Flask) else quart.url_for
        return url_for(self.f.__name__, _external=False, **kwargs)

    def _with_suffix(self, prefix: str, query_args: QueryArgs | None) -> str:
        settings = self.cache.settings_here()
        make = self.rules.hash_method or settings.hash_method
        checks = settings.source_check if self.rules.source_check is None else self.rules.source_check
        source = source_of(self.f) if checks else b""
        if self.rules.query_string:
            pairs = current_request().args.items(multi=True) if query_args is None else query_args_as_pairs(query_args)
            hashed = make(str(tuple(sorted(pairs))).encode())
            hashed.update(source)
            return f"{prefix}{hashed.hexdigest()}"
        return f"{prefix}{make(source).hexdigest()}" if source else prefix


def cached(cache: Cache, timeout: Any, rules: ViewRules) -> Callable[[Callable[..., Any]], Any]:
    """The decorator; see :meth:`decant.cache.Cache.cached`."""
    normalize_timeout(timeout)  # a wrong one is said here

    def decorator(f: Callable[..., Any]) -> Any:
        @wraps(f)
        async def decorated(*args: Any, **kwargs: Any) -> Any:
            app, state = cache.here()
            call = ViewCall(cache, state, app, f, args, kwargs, rules, made.cache_timeout, decorated=made)
            return await call.run()

        made = cast(Any, decorated)
        cache.decorates(f, rules.source_check)
        made.uncached = f
        made.cache_timeout = timeout
        made.make_cache_key = Keys(cache, f, rules)
        made.has_many_keys = bool(rules.vary or rules.per_user)
        return made

    return decorator
