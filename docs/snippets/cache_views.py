"""Views, functions and fragments."""

from __future__ import annotations

from quart import render_template_string

from decant import Quart
from decant.cache import Cache

app = Quart(__name__)
app.config["CACHE_TYPE"] = "SimpleCache"  # in production "RedisCache", which takes REDIS_URL
cache = Cache(app)


@cache.memoize(timeout=60)
async def users_count() -> int:
    return 42  # from the database


@app.get("/")
@cache.cached(timeout=60)
async def index() -> str:
    page = "{% cache 300, 'menu' %}<nav>…</nav>{% endcache %}{{ count }} users"
    return await render_template_string(page, count=await users_count())


@app.get("/search")
@cache.cached(timeout=30, query_string=True, unless=lambda: app.debug)
def search() -> dict[str, list[str]]:  # a synchronous view runs in a thread, on a miss only
    return {"results": []}


@app.post("/users")
async def register() -> tuple[str, int]:
    await cache.delete_memoized(users_count)
    await cache.delete_cached(index, path="/")
    return "", 201
