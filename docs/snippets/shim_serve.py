from flask import Flask, Response, request

from decant.flask import asgi

app = Flask(__name__)  # as it is: nothing in it changes


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"hello {name}, from {request.remote_addr}"


@app.get("/events")
def events() -> Response:
    def pieces():
        for number in range(3):
            yield f"data: {number}\n\n"

    return Response(pieces(), mimetype="text/event-stream")


asgi_app = asgi(app, threads=40)  # hypercorn shim_serve:asgi_app
