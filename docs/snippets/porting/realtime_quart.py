from decant import Quart
from decant.socketio import SocketIO, emit

app = Quart(__name__)
app.secret_key = "change me"
socketio = SocketIO(app)


@socketio.on("my event")
async def my_event(data):
    await emit("my response", {"data": data["data"].upper()})
    return "seen"
