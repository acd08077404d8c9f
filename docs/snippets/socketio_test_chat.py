"""How a chat is tested: no server, no socket."""

from socketio_chat import app, socketio


async def test_who_is_in_a_room_hears_what_is_said():
    ann = await socketio.test_client(app)
    bob = await socketio.test_client(app)
    assert await ann.emit("join", "kitchen", callback=True) == {"joined": "kitchen"}
    await bob.emit("join", "kitchen")
    await ann.emit("say", "hello")
    (said,) = bob.get_received()
    assert said["name"] == "said"
    assert said["args"][0]["text"] == "hello"
