"""The application of ``bench/shim.py``: an ordinary Flask one. ``python bench/shim_app.py MODE PORT``: by the shim, in
threads as it stands, or on the loop with async drivers.

Gunicorn imports it from a virtual environment of its own, which has no Decant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script, this file's folder comes first, and hides packages
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    MODE, PORT = sys.argv[1:3]
    from decant.flask.async_db import use_async_drivers
    from decant.flask.registry import make_bridge_local

    if MODE == "loop":
        use_async_drivers()
        make_bridge_local()

import flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

app = flask.Flask("shim_app")
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
    "pool_size": int(os.environ["POOL_SIZE"]),
    "max_overflow": 0,
    "pool_timeout": 60,
}
db = SQLAlchemy(app)


@app.get("/database/<int:ms>")
def database(ms: int) -> str:
    """So many milliseconds in the database."""
    db.session.execute(text("SELECT pg_sleep(:s)"), {"s": ms / 1000})
    return "done"


@app.get("/nothing")
def nothing() -> str:
    return "done"


def serve() -> None:
    import asyncio
    from typing import Any

    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    from decant.flask import asgi

    config = Config.from_mapping({"bind": [f"127.0.0.1:{PORT}"], "accesslog": None, "backlog": 1024})
    views: Any = MODE
    asyncio.run(hypercorn_serve(asgi(app, views=views, threads=40), config))  # type: ignore[arg-type]


if __name__ == "__main__":
    serve()
