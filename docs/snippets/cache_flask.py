"""A Flask application: the face, used as Flask-Caching's class is."""

from __future__ import annotations

from flask import Flask

from decant.cache import Cache as QuartCache
from decant.faces import face

Cache = face(QuartCache)
app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})


@app.route("/")
@cache.cached(timeout=60)
def index() -> str:
    cache.set("visits", (cache.get("visits") or 0) + 1)
    return f"computed {cache.get('visits')} times"
