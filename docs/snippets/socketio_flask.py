"""A Flask application that emits to the clients of the Quart half."""

import flask

from decant.faces import face
from decant.socketio import SocketIO

socketio = face(SocketIO)()


def create_app(redis_url, channel):
    app = flask.Flask(__name__)
    app.config["REDIS_URL"] = redis_url
    app.config["SOCKETIO_CHANNEL"] = channel
    socketio.init_app(app)

    @app.post("/orders")
    def order():
        socketio.emit("ordered", {"by": "Flask"})  # nothing to await
        return {"ok": True}

    return app
