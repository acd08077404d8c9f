"""A Flask application whose views run on the event loop, but for those that block."""

import functools
import hashlib
import time

import flask
from flask.views import MethodView

from decant.flask import asgi, blocking

app = flask.Flask(__name__)
app.config["DECANT_BLOCKING_VIEWS"] = ["digest", "admin.*"]  # endpoints, and all of a blueprint


def timed(view):
    @functools.wraps(view)  # so that the mark below it is found
    def wrapper(*args, **kwargs):
        started = time.perf_counter()
        response = flask.make_response(view(*args, **kwargs))
        response.headers["Server-Timing"] = f"view;dur={(time.perf_counter() - started) * 1000:.0f}"
        return response

    return wrapper


@app.get("/links")
def links():  # on the loop: what it does there waits, and others run meanwhile
    return ["one", "two"]


@app.get("/legacy")
@timed
@blocking
def legacy():  # in a thread: a driver, a library or a lock that blocks
    time.sleep(0.01)
    return "slept"


@app.get("/digest")
def digest():  # in a thread: listed above
    return hashlib.scrypt(b"secret", salt=b"salt", n=2**12, r=8, p=1).hex()


class Reports(MethodView):
    def get(self):  # on the loop
        return "reports"

    @blocking
    def post(self):  # in a thread
        time.sleep(0.01)
        return "made", 201


app.add_url_rule("/reports", view_func=Reports.as_view("reports"))
admin = flask.Blueprint("admin", __name__, url_prefix="/admin")


@admin.get("/")
def overview():  # in a thread: listed above
    return "overview"


app.register_blueprint(admin)
serving = asgi(app, views="loop")  # what `decant serve --views loop` makes
