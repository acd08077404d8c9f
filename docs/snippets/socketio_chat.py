"""A chat: rooms, acknowledgements, errors, a class-based namespace, a view and a background task that emit."""

from quart import request, session

from decant import Quart
from decant.socketio import Namespace, SocketIO, emit, join_room

app = Quart(__name__)
app.secret_key = "change me"
socketio = SocketIO(app)


# begin handlers
@socketio.on("connect")
async def connected(auth):
    return auth != {"token": "expired"}  # False refuses the client


@socketio.on("join")
async def join(room):
    session["room"] = room
    await join_room(room)
    return {"joined": room}  # the acknowledgement


@socketio.on("say")
async def say(text):
    await emit("said", {"from": request.sid, "text": text}, to=session["room"])


@socketio.on_error()  # of the namespace "/"; on_error_default is for those without one
async def failed(error):
    return {"error": type(error).__name__}


# end handlers


# begin outside
@app.post("/announce")
async def announce():
    await socketio.emit("said", {"from": None, "text": "the shop closes"})
    return {"announced": True}


async def count_down(n):
    while n:
        await socketio.emit("left", n)
        await socketio.sleep(0.01)
        n -= 1


@socketio.on("count down")
async def start(n):
    socketio.start_background_task(count_down, n)


# end outside


# begin namespace
class Admin(Namespace):
    async def on_connect(self, auth):
        return bool(auth)

    async def on_kick(self, sid):
        await self.disconnect(sid, namespace="/")
        return "kicked"

    def error(self, exception):
        return f"failed: {exception}"


socketio.on_namespace(Admin("/admin"))
# end namespace

if __name__ == "__main__":
    socketio.run(app)
