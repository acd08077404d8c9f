"""The monitor of the shop's Celery, in a process of its own, as Flower is: decant serve --faces monitored:app"""

import os
from hmac import compare_digest

from quart import Response, request
from shop import celery

from decant import Quart
from decant.monitor import Monitor

app = Quart("monitored")
app.config["SECRET_KEY"] = os.environ["MONITOR_KEY"]


def may_see():
    given = request.authorization
    password = given.password or "" if given is not None else ""
    if compare_digest(password.encode(), os.environ["MONITOR_PASSWORD"].encode()):
        return True
    return Response("Who are you?", 401, {"WWW-Authenticate": 'Basic realm="jobs"'})


app.register_blueprint(Monitor(celery, guard=may_see), url_prefix="/jobs")
