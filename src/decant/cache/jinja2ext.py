"""``{% cache timeout[, fragment[, vary_on…]] %}…{% endcache %}``, in async templates, and in Flask's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from ..bridge import wait
from ..faces import called
from .state import LOOKUPS
from .utils import make_template_fragment_key

__all__ = ["JINJA_CACHE_ATTR_NAME", "CacheExtension"]

JINJA_CACHE_ATTR_NAME: Final = "_template_fragment_cache"


class CacheExtension(Extension):
    """A piece of a template that is rendered once. Follows ``flask_caching.jinja2ext.CacheExtension``.

    The timeout is in seconds, ``None`` for the default, or ``"del"``, which deletes. The fragment's name is by
    default the template's and the line.
    """

    tags: ClassVar[set[str]] = {"cache"}  # type: ignore[misc]

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        timeout = parser.parse_expression()
        name: nodes.Expr = nodes.Const(f"{parser.filename}{line}")
        if parser.stream.skip_if("comma"):
            name = parser.parse_expression()
        vary_on: list[nodes.Expr] = []
        while parser.stream.skip_if("comma"):
            vary_on.append(parser.parse_expression())
        body = parser.parse_statements(("name:endcache",), drop_needle=True)
        call = self.call_method("_cache", [timeout, name, nodes.List(vary_on)])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _cache(self, timeout: Any, name: str, vary_on: list[Any], caller: Callable[[], Any]) -> Any:
        work = self._fragment(timeout, make_template_fragment_key(name, vary_on), caller)
        return work if self.environment.is_async else wait(work)

    async def _fragment(self, timeout: Any, key: str, caller: Callable[[], Any]) -> Any:
        cache = getattr(self.environment, JINJA_CACHE_ATTR_NAME)
        app, state = cache.here()
        deletes, found = timeout == "del", None
        try:
            if deletes:
                await cache.delete(key)
            else:
                found = await cache.get(key)
        except Exception as error:
            state.failed(app, error)
            return await called(caller)
        LOOKUPS.inc(kind="fragment", result="miss" if found is None else "hit")
        if found is not None:
            return found
        text = await called(caller)
        if not deletes:
            try:
                await cache.set(key, text, timeout=timeout)
            except Exception as error:
                state.failed(app, error)
        return text
