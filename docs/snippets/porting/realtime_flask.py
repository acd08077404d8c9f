from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask(__name__)
app.secret_key = "change me"
socketio = SocketIO(app)


@socketio.on("my event")
def my_event(data):
    emit("my response", {"data": data["data"].upper()})
    return "seen"
