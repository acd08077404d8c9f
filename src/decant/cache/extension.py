"""``Cache``: Flask-Caching's extension, awaited."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from ..bridge import wait
from ..context import current_app, has_app, on_quart
from ..faces import faced, io_method
from .backends.threaded import ThreadedCache
from .jinja2ext import JINJA_CACHE_ATTR_NAME, CacheExtension
from .memoized import MemoizeRules, Versions, memoize
from .settings import Settings, make_backend, settings_from
from .state import State
from .utils import QueryArgs, Timeout, get_arg_names, source_of
from .values import Values
from .views import ViewRules, cached

__all__ = ["Cache"]

Function = Callable[..., Any]


def _as_made(backend: Any) -> Any:
    """What Flask code sees of a backend: a synchronous one itself, another one by its face."""
    return backend.wrapped if isinstance(backend, ThreadedCache) else faced(backend)


class Cache(Values):
    """A cache for Quart applications, with Flask-Caching 2.5's interface: what talks to the backend is awaited.

    ::

        cache = Cache(config={"CACHE_TYPE": "RedisCache"})

        @app.get("/")
        @cache.cached(timeout=60)
        async def index(): ...

    :param app: set up at once, if given.
    :param with_jinja2_ext: whether templates have ``{% cache %}``.
    :param config: wins over ``app.config``; what ``init_app`` is given wins over both.
    :raises ValueError: if ``config`` is neither a dictionary nor ``None``.
    """

    def __init__(self, app: Any = None, with_jinja2_ext: bool = True, config: dict[str, Any] | None = None) -> None:
        self._check(config)
        self.with_jinja2_ext = with_jinja2_ext
        self.config = config
        self.versions = Versions(self)
        self._states: WeakKeyDictionary[Any, State] = WeakKeyDictionary()
        self._functions: WeakSet[Any] = WeakSet()
        if app is not None:
            self.init_app(app)

    @staticmethod
    def _check(config: Any) -> None:
        if not (config is None or isinstance(config, dict)):
            raise ValueError("`config` must be an instance of dict or None")

    def init_app(self, app: Any, config: dict[str, Any] | None = None) -> None:
        """Set up a Quart or Flask application; its configuration must be complete by now.

        :raises ValueError: if ``config`` is neither a dictionary nor ``None``.
        :raises ConfigError: if a value is wrong: says the key, the value and what is allowed.
        :raises MissingExtra: if what the backend needs is not installed.
        """
        self._check(config)
        effective = {**app.config, **(self.config or {}), **(config or {})}
        settings = settings_from(effective)
        backend = make_backend(app, effective, settings.serializer)
        of_quart = on_quart(app)
        shown = self if of_quart else faced(self)
        self._states[app] = state = State(app, settings, backend, shown)
        app.extensions.setdefault("cache", {})[shown] = backend if of_quart else _as_made(backend)
        if settings.source_check:
            for function in self._functions:
                source_of(function)
        if self.with_jinja2_ext:
            setattr(app.jinja_env, JINJA_CACHE_ATTR_NAME, self)
            app.jinja_env.add_extension(CacheExtension)
        if of_quart:
            with suppress(AssertionError):  # it serves already: the connections end with the loop
                app.after_serving(state.aclose)

    def decorates(self, f: Function, source_check: bool | None) -> None:
        """Note a function; its source is read now if it is needed, not when a request comes."""
        self._functions.add(f)
        configured = any(state.settings.source_check for state in self._states.values())
        if configured if source_check is None else source_check:
            source_of(f)

    # -- where we are ------------------------------------------------------------------------------------------

    def here(self) -> tuple[Any, State]:
        """The current application and its state; outside of a context the only one that was set up.

        :raises RuntimeError: if there is none, or there are several.
        """
        if has_app():
            app = current_app()
            state = self._states.get(app)
            if state is not None:
                return app, state
            raise RuntimeError(
                "The current app is not registered with this 'Cache' instance: call 'init_app' with it first."
            )
        states = list(self._states.items())
        if len(states) == 1:
            return states[0]
        raise RuntimeError(
            f"no application context is active, and this 'Cache' instance has {len(states)} applications: use it"
            " within `async with app.app_context():` (Flask: `with`)"
        )

    def settings_here(self) -> Settings:
        """The current application's settings."""
        return self.here()[1].settings

    def flavored(self, work: Coroutine[Any, Any, Any]) -> Any:
        """For functions that a decorated function carries: awaited in Quart, a plain value in Flask."""
        try:
            of_quart = self.here()[1].of_quart
        except RuntimeError:
            work.close()
            raise
        return work if of_quart else wait(work)

    def backend_here(self) -> Any:
        """The current application's backend, awaited."""
        return self.here()[1].backend

    @property
    def cache(self) -> Any:
        """The current application's backend, with ``inc`` and ``dec``; in Flask a synchronous one as it was made."""
        state = self.here()[1]
        return state.backend if state.of_quart else _as_made(state.backend)

    @property
    def app(self) -> Any:
        """The current application."""
        return self.here()[0]

    @property
    def source_check(self) -> bool:
        """``CACHE_SOURCE_CHECK``."""
        return self.settings_here().source_check

    @property
    def hash_method(self) -> Function:
        """``CACHE_HASH_METHOD``."""
        return self.settings_here().hash_method

    @hash_method.setter
    def hash_method(self, function: Function) -> None:
        state = self.here()[1]
        state.settings = replace(state.settings, hash_method=function)

    @property
    def serializer(self) -> Any:
        """The one of ``CACHE_SERIALIZER``, or msgpack's."""
        return self.settings_here().serializer

    @property
    def enable_signals(self) -> bool:
        """``CACHE_ENABLE_SIGNALS``."""
        return self.settings_here().enable_signals

    @io_method
    async def invalidate_tag(self, *tags: str) -> None:
        """Let every value that was cached with one of these ``tags=`` be computed again. Not in Flask-Caching.

        A value whose computation began before is not served either, so nothing that was read before a change
        outlives it.
        """
        if tags:
            await self.here()[1].invalidate(tags)

    # -- decorators --------------------------------------------------------------------------------------------

    def cached(
        self,
        timeout: Timeout | None = None,
        key_prefix: str | Callable[[], Any] = "view/%s",
        unless: Function | None = None,
        forced_update: Function | None = None,
        is_stale: Function | None = None,
        response_filter: Function | None = None,
        query_string: bool = False,
        hash_method: Function | None = None,
        cache_none: bool = False,
        make_cache_key: Function | None = None,
        source_check: bool | None = None,
        response_hit_indication: bool | None = False,
        *,
        vary: Sequence[str] = (),
        per_user: bool | Callable[[], Any] = False,
        etag: bool = False,
        cache_control: bool | str = False,
        ignore_identity: bool | None = None,
        single_flight: bool | None = None,
        stale_while_revalidate: Timeout | None = None,
        jitter: float | None = None,
        tags: str | Sequence[str] | Function | None = None,
    ) -> Callable[[Function], Any]:
        """Cache what a view or function returns; it becomes an ``async`` function. Functions may all be ``async``.

        :param timeout: seconds or a ``timedelta``, rounded up to seconds; ``None``: ``CACHE_DEFAULT_TIMEOUT``.
        :param key_prefix: the key, in which ``%s`` is the request's path; or a function that returns it.
        :param unless: if it returns ``True``, the cache is left alone; takes no arguments, or the function and its.
        :param forced_update: if it returns ``True``, the value is computed again; takes no arguments, or the call's.
        :param is_stale: of a value that is found, and perhaps the arguments; ``True``: it is computed again.
        :param response_filter: of what the view returned; if it returns something false, that is not stored.
        :param query_string: whether the key has the arguments of the query, in any order.
        :param hash_method: of the query; ``None``: ``CACHE_HASH_METHOD``.
        :param cache_none: whether ``None`` is a value.
        :param make_cache_key: makes the whole key, of the view's arguments.
        :param source_check: whether the key has the function's source.
        :param response_hit_indication: whether a response from the cache has the header ``hit_cache: True``.
        :param vary: names of request headers that the key has; the response gets them in ``Vary``.
        :param per_user: a key per user: by the session and ``Authorization``, or by what the function returns.
        :param etag: gives the response an ``ETag``, and answers 304 to who has it.
        :param cache_control: the header's value; ``True``: for as long as the value is fresh.
        :param ignore_identity: cache also what is asked for with a session or ``Authorization``, or sets a cookie,
            as Flask-Caching does; ``None``: ``CACHE_IGNORE_IDENTITY``.
        :param single_flight: whether of many misses at once one computes; ``None``: ``CACHE_SINGLE_FLIGHT``.
        :param stale_while_revalidate: for how long after its time a value is served while a new one is computed.
        :param jitter: the share of the timeout, from 0, by which it is shortened at random; ``None``: ``CACHE_JITTER``.
        :param tags: names for :meth:`invalidate_tag`, or a function of the call's arguments that returns them.

        The result has ``uncached``, ``cache_timeout`` and ``make_cache_key``.
        """
        rules = ViewRules(
            unless=unless,
            forced_update=forced_update,
            is_stale=is_stale,
            response_filter=response_filter,
            cache_none=cache_none,
            single_flight=single_flight,
            stale_while_revalidate=stale_while_revalidate,
            jitter=jitter,
            tags=tags,
            key_prefix=key_prefix,
            query_string=query_string,
            hash_method=hash_method,
            make_cache_key=make_cache_key,
            source_check=source_check,
            response_hit_indication=bool(response_hit_indication),
            vary=(vary,) if isinstance(vary, str) else tuple(vary),
            per_user=per_user,
            etag=etag,
            cache_control=cache_control,
            ignore_identity=ignore_identity,
        )
        return cached(self, timeout, rules)

    def memoize(
        self,
        timeout: Timeout | None = None,
        make_name: Callable[[str], str] | None = None,
        unless: Function | None = None,
        forced_update: Function | None = None,
        is_stale: Function | None = None,
        response_filter: Function | None = None,
        hash_method: Function | None = None,
        cache_none: bool = False,
        source_check: bool | None = None,
        args_to_ignore: Sequence[str] | None = None,
        *,
        single_flight: bool | None = None,
        stale_while_revalidate: Timeout | None = None,
        jitter: float | None = None,
        tags: str | Sequence[str] | Function | None = None,
    ) -> Callable[[Function], Any]:
        """Cache what a function returns, by its arguments; parameters as for :meth:`cached`.

        :param make_name: of the function's name in keys, another one.
        :param args_to_ignore: names of parameters that make no difference; ``"self"``: all instances are one.

        The result has ``uncached``, ``cache_timeout``, ``make_cache_key(f, …)`` and ``delete_memoized()``.
        """
        rules = MemoizeRules(
            unless=unless,
            forced_update=forced_update,
            is_stale=is_stale,
            response_filter=response_filter,
            cache_none=cache_none,
            single_flight=single_flight,
            stale_while_revalidate=stale_while_revalidate,
            jitter=jitter,
            tags=tags,
            make_name=make_name,
            hash_method=hash_method,
            source_check=source_check,
            args_to_ignore=tuple(args_to_ignore or ()),
        )
        return memoize(self, timeout, rules)

    @io_method
    async def delete_cached(
        self, f: Any, path: str | None = None, query_args: QueryArgs | None = None, **view_kwargs: Any
    ) -> bool:
        """Delete what a ``cached`` function has; whether there was something.

        :param path: the request's path; else it is built for the view's arguments.
        :param query_args: a query string, a mapping or pairs, where the key has the query.
        :raises ValueError: for one with ``vary=`` or ``per_user=``, which has many values: give it ``tags=``.
        """
        if getattr(f, "has_many_keys", False):
            raise ValueError("with vary= or per_user= there are many values: give them tags=, for invalidate_tag()")
        key = f.make_cache_key(path=path, query_args=query_args, **view_kwargs)
        return await self.delete(await key if inspect.isawaitable(key) else key)

    @io_method
    async def delete_memoized(self, f: Any, *args: Any, **kwargs: Any) -> None:
        """Let a memoized function compute again: all of its values, of one instance, or of one set of arguments.

        :param f: the function; a bound method stands for its instance.
        :raises TypeError: if it is not callable.
        :raises ValueError: if a method lacks ``self`` or ``cls``.
        """
        if not callable(f):
            raise TypeError("Deleting messages by relative name is not supported, please use a function reference.")
        if not (args or kwargs):
            _, keys = self.versions.keys(f, None)
            await self.versions.reset(keys[-1], getattr(f, "cache_timeout", None))
            return
        key = f.make_cache_key(f.uncached, *self._with_self(f, args), **kwargs)
        await self.delete(await key if inspect.isawaitable(key) else key)

    @staticmethod
    def _with_self(f: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        instance = getattr(f, "__self__", None)
        if instance is None or inspect.isclass(instance):
            return args
        names = get_arg_names(f.uncached)
        given = names[:1] != ["self"] or (bool(args) and args[0] is instance)
        return args if given else (instance, *args)

    @io_method
    async def delete_memoized_verhash(self, f: Any, *args: Any) -> None:
        """Delete the version of a memoized function, or of an instance.

        :raises TypeError: if it is not callable.
        """
        if not callable(f):
            raise TypeError("Deleting messages by relative name is not supported, please use a function reference.")
        _, keys = self.versions.keys(f, args)
        await self.delete_many(keys[-1])
