import os

from flask import Flask
from flask_caching import Cache

app = Flask(__name__)
cache = Cache(
    app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": os.environ.get("REDIS_URL", "redis://localhost:6379/0")}
)
asked = []


@app.get("/top")
@cache.cached(timeout=60)
def top():
    asked.append("database")
    return "the ten most popular"


@app.post("/forget")
def forget():
    cache.clear()
    return "", 204
