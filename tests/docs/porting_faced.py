"""Each Flask file of docs/snippets/porting on the event loop with the faces installed; prints what it answers, as JSON.

A process of its own: faces are installed before any extension is imported.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from decant.flask import install

install()

from decant.flask import asgi  # noqa: E402  after the faces


def client(name: str) -> Any:
    return asgi(importlib.import_module(name).app, views="loop").test_client()


def main() -> None:
    answers: dict[str, Any] = {}
    answers["pool"] = client("pool_flask").post("/users/ada").text
    answers["threads"] = client("threads_flask").get("/prices").json
    answers["background"] = client("background_flask").get("/start/x").text
    answers["async"] = client("async_flask").get("/").text
    cached = client("cache_flask")
    answers["cache"] = [cached.get("/top").text, cached.get("/top").text, importlib.import_module("cache_flask").asked]
    limited = client("limits_flask")
    answers["limits"] = [limited.post("/login").status_code for _ in range(3)]
    allowed = client("cors_flask").get("/api/orders", headers={"Origin": "https://shop.example"})
    answers["cors"] = allowed.headers.get("Access-Control-Allow-Origin")
    realtime = importlib.import_module("realtime_flask")
    socket = realtime.socketio.test_client(realtime.app)
    answers["realtime"] = [socket.emit("my event", {"data": "a"}, callback=True), socket.get_received()[0]["args"]]
    blog = importlib.import_module("blog_flask")
    app = blog.create_app()
    with app.app_context():
        blog.db.create_all()
        blog.db.session.add(blog.User(username="ada"))
        blog.db.session.commit()
    answers["blog"] = asgi(app, views="loop").test_client().post(
        "/blog/ada", data={"title": "Notes"}, follow_redirects=True
    ).text  # fmt: skip
    loop_serve = importlib.import_module("loop_serve").app  # it installs again, which changes nothing
    answers["loop_serve"] = loop_serve.test_client().post("/users/bob").text
    tasks = client("tasks_flask")
    answers["tasks"] = tasks.post("/add", json={"x": 2, "y": 3}).json
    print(json.dumps(answers))


main()
