"""A Flask application: the face, used as Flask-Limiter's class is."""

from __future__ import annotations

from flask import Flask

from decant.faces import face
from decant.limiter import Limiter as QuartLimiter
from decant.limiter.util import get_remote_address

Limiter = face(QuartLimiter)
app = Flask(__name__)
limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")


@app.route("/")
@limiter.limit("2/minute")
def index() -> str:
    return f"{limiter.current_limit.remaining} left"
