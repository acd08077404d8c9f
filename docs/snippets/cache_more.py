"""What Flask-Caching has not."""

from __future__ import annotations

from quart import render_template_string, session

from decant import Quart
from decant.cache import Cache

app = Quart(__name__)
app.secret_key = "of the example"
app.config["CACHE_TYPE"] = "SimpleCache"
cache = Cache(app)
titles = {7: "A link"}


@app.get("/links/<int:number>")
@cache.cached(
    timeout=300,
    tags=lambda number: [f"link:{number}"],
    stale_while_revalidate=60,
    etag=True,
    cache_control=True,
    vary=("Accept-Language",),
)
async def link(number: int) -> str:
    return titles[number]


@app.post("/links/<int:number>/<title>")
async def rename(number: int, title: str) -> str:
    titles[number] = title
    await cache.invalidate_tag(f"link:{number}")
    return title


@app.get("/dashboard")
@cache.cached(timeout=60, per_user=True)
async def dashboard() -> str:
    return await render_template_string("Hello {{ name }}", name=session.get("name", "you"))


@app.get("/login/<name>")
async def login(name: str) -> str:
    session["name"] = name
    return name
