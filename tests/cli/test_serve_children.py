"""Processes that a served application starts by itself, with :mod:`multiprocessing`."""

from __future__ import annotations

from tests.cli.load import get
from tests.cli.toys import Project, Start

APP = """
    import multiprocessing

    import flask
    from flask_caching import Cache

    app = flask.Flask(__name__)

    def tell(pipe):
        pipe.send(Cache.__module__)

    @app.get("/")
    def index():
        context = multiprocessing.get_context(flask.request.args["method"])
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=tell, args=(sender,))
        child.start()
        sender.close()
        answer = receiver.recv()
        child.join()
        return answer
"""


def test_what_an_application_starts_by_multiprocessing_has_the_faces_too(project: Project, start: Start) -> None:
    """It imports the application anew, and there the originals may not even be installed."""
    project.write("drawing.py", APP)
    running = start("serve", "drawing:app", "--bind", "127.0.0.1:0", "--faces")
    host, port = running.expect(r"^  listening +http://(\S+)$").split(":")
    for method in ("spawn", "forkserver", "fork"):
        status, body = get((host, int(port)), f"/?method={method}", timeout_s=90)
        assert (status, body.split(".")[0]) == (200, "decant"), method
