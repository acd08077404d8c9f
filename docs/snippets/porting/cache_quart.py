import os

from decant import Quart
from decant.cache import Cache

app = Quart(__name__)
cache = Cache(
    app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": os.environ.get("REDIS_URL", "redis://localhost:6379/0")}
)
asked = []


@app.get("/top")
@cache.cached(timeout=60)  # a hundred requests at once for what has expired compute it once
async def top():
    asked.append("database")
    return "the ten most popular"


@app.post("/forget")
async def forget():
    await cache.clear()
    return "", 204
