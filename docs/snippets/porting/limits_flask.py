import os

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

app = Flask(__name__)
limiter = Limiter(
    get_remote_address,
    app=app,
    default_limits=["100 per day", "10 per hour"],
    storage_uri=os.environ.get("REDIS_URL", "redis://localhost:6379/0"),
)


@app.post("/login")
@limiter.limit("2 per minute")
def login():
    return "welcome"
