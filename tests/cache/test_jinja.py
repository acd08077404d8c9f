"""``{% cache %}`` in Quart's templates, which are async."""

from __future__ import annotations

import pytest
from quart import render_template_string

from decant import Quart
from decant.cache import Cache, make_template_fragment_key

from .conftest import Make

Pair = tuple[Quart, Cache]


@pytest.mark.parity("caching", "make_template_fragment_key(fragment_name, vary_on=None)")
def test_keys() -> None:
    assert make_template_fragment_key("x") == "_template_fragment_cache_x"
    assert make_template_fragment_key("x", vary_on=["a", "b"]) == "_template_fragment_cache_x_a_b"
    assert make_template_fragment_key("x", ["a", 7]) == "_template_fragment_cache_x_a_7"  # type: ignore[list-item]


@pytest.mark.parity("caching", '{% cache timeout[, fragment[, vary_on...]] %}…{% endcache %}; timeout="del" deletes')
async def test_fragments(simple: Pair) -> None:
    """By name and what they vary on; async functions within; markup stays markup; "del" deletes."""
    app, cache = simple
    calls: list[str] = []

    async def say(text: str) -> str:
        calls.append(text)
        return f"<{text}>"

    async def render(source: str, **context: object) -> str:
        return await render_template_string(source, say=say, **context)

    async with app.app_context():
        named = "{% cache 60, 'n', who %}<b>{{ say(who) }}</b>{% endcache %}"
        for who in ("a", "b", "a"):
            assert await render(named, who=who) == f"<b>&lt;{who}&gt;</b>"
        assert calls == ["a", "b"]
        assert await cache.get(make_template_fragment_key("n", ["a"])) == "<b>&lt;a&gt;</b>"
        await render("{% cache 'del', 'n', who %}{{ say(who) }}{% endcache %}", who="a")
        assert await cache.get(make_template_fragment_key("n", ["a"])) is None
        await render("{% cache None %}{{ say('x') }}{% endcache %}")
        assert await cache.has("_template_fragment_cache_None1"), "a template from a text has no name"
        loop = "{% for i in range(3) %}{% cache 60, 'loop' %}{{ i }}{% endcache %}{% endfor %}"
        assert await render(loop) == "000"


class WithoutExtension(Cache):
    def __init__(self, app: Quart) -> None:
        super().__init__(app, with_jinja2_ext=False)


async def test_without_the_extension(make: Make) -> None:
    app, _ = make({"CACHE_TYPE": "SimpleCache"}, kind=WithoutExtension)
    async with app.app_context():
        with pytest.raises(Exception, match="unknown tag 'cache'"):
            await render_template_string("{% cache 60 %}{% endcache %}")
