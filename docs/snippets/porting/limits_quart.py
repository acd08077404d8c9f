import os

from decant import Quart
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address

app = Quart(__name__)
limiter = Limiter(
    get_remote_address,
    app=app,
    default_limits=["100 per day", "10 per hour"],
    storage_uri=os.environ.get("REDIS_URL", "redis://localhost:6379/0"),
)


@app.post("/login")
@limiter.limit("2 per minute")  # all limits of a request are decided by one script in Redis, one round trip
async def login():
    return "welcome"


@app.get("/report")
@limiter.concurrency(2)  # not how many a minute: how many at once. Flask-Limiter has no such thing
async def report():
    return "a long one"
