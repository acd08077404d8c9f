"""One database, one limiter's counters, one cache, and the request's id in the log of both halves."""

import logging
import os

import flask_caching
import flask_limiter
from flask import Flask
from flask_limiter.util import get_remote_address as flask_remote_address

from decant import Quart
from decant.cache import Cache
from decant.database import SQLAlchemy
from decant.faces import face, twin_of
from decant.flask import RequestIdFilter, mount
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address
from decant.ops.metrics import add_metrics

SHARED = {
    "SECRET_KEY": "change me",
    "REDIS_URL": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
    "SQLALCHEMY_DATABASE_URI": os.environ.get("DATABASE_URL", "postgresql:///example"),
    "CACHE_TYPE": "RedisCache",
    "CACHE_REDIS_URL": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
}
legacy, app = Flask("legacy"), Quart(__name__)
legacy.config.update(SHARED)
app.config.update(SHARED, CACHE_SERIALIZER="pickle")  # Flask-Caching's format

db = face(SQLAlchemy)(legacy)  # the Flask half's, in place of flask_sqlalchemy
async_db = twin_of(db)  # the same models, sessions to be awaited, and the same connections
async_db.init_app(app)

legacy_cache = flask_caching.Cache(legacy)
cache = Cache(app)

LIMITS = {"storage_uri": SHARED["REDIS_URL"], "key_prefix": "shop"}
legacy_limiter = flask_limiter.Limiter(flask_remote_address, app=legacy, **LIMITS)
limiter = Limiter(get_remote_address, app=app, **LIMITS)


class Word(db.Model):
    text: db.Mapped[str] = db.mapped_column(primary_key=True)


@legacy.post("/words/<text>")
@legacy_limiter.shared_limit("3/minute", scope="words")
def keep(text):
    db.session.add(Word(text=text))
    db.session.commit()
    legacy_cache.set("newest", text)
    return "", 204


@app.get("/words/newest")
@limiter.shared_limit("3/minute", scope="words")
async def newest():
    words = (await async_db.session.execute(async_db.select(async_db.func.count(Word.text)))).scalar()
    logging.getLogger("shop").info("%s words", words)
    return {"newest": await cache.get("newest"), "words": words}


handler = logging.StreamHandler()
handler.addFilter(RequestIdFilter())
handler.setFormatter(logging.Formatter("%(levelname)s %(request_id)s %(message)s"))
logging.getLogger("shop").addHandler(handler)
add_metrics(app, token=os.environ.get("METRICS_TOKEN"))
mount(app, legacy)
