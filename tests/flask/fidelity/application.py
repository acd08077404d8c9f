"""A Flask application whose answers show what its server told it, for tests that compare servers."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flask
from flask import Blueprint, Response, abort, g, request, stream_with_context, url_for
from flask.views import MethodView
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

LONG = "".join(f"line {number:05d}\n" for number in range(20_000)).encode()
FILE = Path(__file__).with_name("static") / "words.txt"
_SHOWN = """
wsgi.version wsgi.url_scheme wsgi.input_terminated wsgi.multithread wsgi.multiprocess wsgi.run_once REQUEST_METHOD
SCRIPT_NAME PATH_INFO QUERY_STRING RAW_URI SERVER_PROTOCOL REMOTE_ADDR SERVER_NAME CONTENT_TYPE CONTENT_LENGTH
"""
_SEEN = "path full_path url base_url url_root host scheme remote_addr is_secure query_string method"


def create_app() -> flask.Flask:
    app = flask.Flask(__name__, static_folder="static")
    app.config.update(SECRET_KEY="known", MAX_CONTENT_LENGTH=1_000_000)
    _requests(app)
    _bodies(app)
    _responses(app)
    _streams(app)
    _files(app)
    _hooks(app)
    _errors(app)
    _wsgi(app)
    return app


def _requests(app: flask.Flask) -> None:  # noqa: C901 - routes
    @app.route("/environ/", defaults={"rest": ""}, methods=["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
    @app.route("/environ/<path:rest>", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    def environ(rest: str) -> Any:
        found = {name: repr(request.environ.get(name)) for name in _SHOWN.split()}
        found |= {name: repr(value) for name, value in request.environ.items() if name.startswith("HTTP_")}
        return {"rest": rest, **found}

    @app.get("/seen/<path:rest>")
    def seen(rest: str) -> Any:
        return {name: str(getattr(request, name)) for name in _SEEN.split()} | {
            "rest": rest,
            "args": {name: request.args.getlist(name) for name in request.args},
            "cookies": dict(request.cookies),
            "languages": request.accept_languages.to_header(),
            "best": request.accept_mimetypes.best_match(["text/html", "application/json"]),
            "authorization": repr(request.authorization),
            "user_agent": request.user_agent.string,
            "range": repr(request.range),
            "if_modified_since": repr(request.if_modified_since),
            "if_none_match": sorted(request.if_none_match.as_set(include_weak=True)),  # which has no order
            "access_route": list(request.access_route),
            "headers": [pair for pair in request.headers if pair[0].startswith("X-")],
        }

    @app.get("/int/<int:number>")
    def an_int(number: int) -> str:
        return f"int {number}"

    @app.get("/float/<float:number>")
    def a_float(number: float) -> str:
        return f"float {number}"

    @app.get("/uuid/<uuid:number>")
    def a_uuid(number: Any) -> str:
        return f"uuid {number}"

    @app.get("/any/<any(about, help):page>")
    def any_of(page: str) -> str:
        return f"page {page}"

    @app.get("/slash/")
    def slash() -> str:
        return "slash"

    @app.get("/no-slash")
    def no_slash() -> str:
        return "no slash"

    @app.get("/straße/<name>")
    def street(name: str) -> str:
        return f"{name} {url_for('street', name=name)} {url_for('street', name=name, _external=True)}"

    @app.get("/host/")
    def host() -> Any:
        return {"host": request.host, "url": url_for("slash", _external=True)}

    class Things(MethodView):
        def get(self) -> str:
            return "got"

        def post(self) -> tuple[str, int]:
            return "made", 201

        def delete(self) -> tuple[str, int]:
            return "", 204

    app.add_url_rule("/things", view_func=Things.as_view("things"))

    part = Blueprint("part", __name__, url_prefix="/part")

    @part.get("/here")
    def here() -> str:
        return url_for(".here") + " " + str(request.blueprint)

    @part.app_errorhandler(418)
    def teapot(error: HTTPException) -> tuple[str, int, dict[str, str]]:
        return "short and stout", 418, {"X-Pot": "tea"}

    app.register_blueprint(part)


def _bodies(app: flask.Flask) -> None:  # noqa: C901 - routes
    @app.post("/form")
    def form() -> Any:
        files = {
            name: [(file.filename, file.content_type, file.read().decode("latin-1")) for file in found]
            for name, found in request.files.lists()
        }
        return {"form": dict(request.form.lists()), "files": files}

    @app.post("/json")
    def json() -> Any:
        return {"json": request.get_json()}

    @app.post("/json/silent")
    def silent() -> Any:
        return {"json": request.get_json(silent=True), "forced": request.get_json(silent=True, force=True)}

    @app.post("/data")
    def data() -> bytes:
        return request.get_data()

    @app.post("/length")
    def length() -> Any:
        return {"announced": request.content_length, "found": len(request.get_data())}

    @app.post("/unread")
    def unread() -> str:
        return "not read"

    @app.post("/stream/<how>")
    def stream(how: str) -> Any:
        source = request.stream
        if how == "lines":
            return [line.decode("latin-1") for line in source]
        if how == "readline":
            return [source.readline().decode(), source.readline(3).decode(), source.read().decode()]
        if how == "readlines":
            return [line.decode() for line in source.readlines()]
        if how == "pieces":
            return [source.read(size).decode() for size in (0, 1, 2, 3)] + [source.read(10**6).decode()]
        if how == "raw":
            raw = request.environ["wsgi.input"]
            return [raw.read(2).decode(), raw.readline().decode(), raw.read(None).decode(), raw.read(5).decode()]
        return abort(404)

    @app.post("/small")
    def small() -> Any:
        request.max_content_length = 10
        return {"found": len(request.get_data())}

    @app.post("/parts")
    def parts() -> Any:
        request.max_form_parts = 2
        return dict(request.form)


def _responses(app: flask.Flask) -> None:
    given: dict[str, Any] = {
        "text": lambda: "text",
        "unicode": lambda: "grüße ☃",
        "bytes": lambda: b"\x00\xff bytes",
        "empty": lambda: "",
        "dict": lambda: {"b": 1, "a": [1, 2.5, None, True, "ü"]},
        "list": lambda: [1, {"two": 2}],
        "date": lambda: {"at": datetime(2024, 2, 29, 12, 0, tzinfo=UTC)},
        "status": lambda: ("teapot", 418),
        "status-text": lambda: ("made", "201 CREATED"),
        "headers": lambda: ("text", {"X-One": "1", "x-lower": "2", "X-UPPER-Case": "3"}),
        "triple": lambda: ("text", 202, [("X-A", "1"), ("X-A", "2")]),
        "latin": lambda: ("text", {"X-Latin": "gr\xfc\xdfe"}),
        "spaces": lambda: ("text", {"X-Spaces": "  in  the  middle  "}),
        "empty-header": lambda: ("text", {"X-Empty": ""}),
        "hop": lambda: ("text", {"Connection": "close", "Keep-Alive": "1", "X-Kept": "1", "TE": "x"}),
        "type": lambda: Response("<a/>", mimetype="application/xml"),
        "no-type": lambda: _without("Content-Type"),
        "no-length": lambda: _without("Content-Length"),
        "204": lambda: ("", 204),
        "204-body": lambda: ("not sent", 204),
        "205": lambda: ("", 205),
        "304": lambda: ("not sent", 304),
        "redirect": lambda: flask.redirect("/slash/"),
        "redirect-308": lambda: flask.redirect("https://example.org/ü?q=ü#f", 308),
        "see-other": lambda: flask.redirect(url_for("slash"), 303),
        "cookies": _cookies,
        "jsonify": lambda: flask.jsonify(1, 2, 3),
        "template": lambda: flask.render_template_string("<p>{{ x }}</p>{{ request.path }}", x="<b>"),
        "wsgi": lambda: WerkzeugResponse("of werkzeug", headers={"X-Werkzeug": "1"}),
        "etag": _etag,
        "weak-etag": lambda: _etag(weak=True),
        "modified": _modified,
        "cached": lambda: ("cached", {"Cache-Control": "public, max-age=60", "Expires": "0"}),
        "vary": lambda: ("text", {"Vary": "Accept, Cookie"}),
        "www": lambda: ("no", 401, {"WWW-Authenticate": 'Basic realm="here"'}),
        "early": lambda: ("text", 200, {"Link": "</a.css>; rel=preload", "Content-Disposition": "inline"}),
        "big": lambda: LONG,
        "none": lambda: None,
        "number": lambda: 5,
        "session": _session,
        "flash": _flash,
        "url": lambda: url_for("given", name="url", q="a b&c", _anchor="ü", _external=True, _scheme="https"),
    }

    @app.route("/give/<name>", methods=["GET", "POST"])
    def give(name: str) -> Any:
        return given[name]()

    app.add_url_rule("/given/<name>", "given", lambda name: name)


def _without(header: str) -> Response:
    response = Response("text")
    response.automatically_set_content_length = False
    response.headers.pop(header, None)
    return response


def _cookies() -> Response:
    response = Response("cookies")
    response.set_cookie("plain", "1")
    response.set_cookie("quoted", 'a "b"; c', path="/here", httponly=True, samesite="Lax")
    response.set_cookie("secure", "ü", secure=True, domain="example.test")
    response.delete_cookie("gone")
    return response


def _etag(*, weak: bool = False) -> Any:
    response = Response("tagged")
    response.set_etag("v1", weak=weak)
    return response.make_conditional(request, accept_ranges=True, complete_length=6)


def _modified() -> Any:
    response = Response("modified")
    response.last_modified = datetime(2024, 1, 1, tzinfo=UTC)
    return response.make_conditional(request)


def _session() -> str:
    flask.session["seen"] = True
    return "remembered"


def _flash() -> Any:
    flask.flash("said")
    return flask.get_flashed_messages()


def _streams(app: flask.Flask) -> None:  # noqa: C901 - routes
    @app.get("/streamed/<int:count>")
    def streamed(count: int) -> Any:
        return (f"piece {number}\n" for number in range(count)), {"X-Streamed": "yes"}

    @app.get("/streamed/bytes")
    def as_bytes() -> Any:
        return Response([b"a", b"", b"bc", b""], mimetype="application/octet-stream")

    @app.get("/streamed/context")
    def with_context() -> Any:
        def pieces() -> Any:
            yield request.path
            yield " "
            yield request.args.get("q", "none")

        return Response(stream_with_context(pieces()))

    @app.get("/streamed/length")
    def with_length() -> Any:
        return Response(iter([b"12345", b"67890"]), headers={"Content-Length": "10"})

    @app.get("/streamed/too-long")
    def too_long() -> Any:
        return Response(iter([b"12345", b"67890", b"more"]), headers={"Content-Length": "8"})

    @app.get("/streamed/events")
    def events() -> Any:
        return Response((f"id: {number}\ndata: x\n\n" for number in range(3)), mimetype="text/event-stream")

    @app.get("/streamed/template")
    def template() -> Any:
        return flask.stream_template_string("{% for n in range(3) %}{{ n }}{{ request.path }}\n{% endfor %}")

    @app.post("/streamed/echo")
    def echo() -> Any:
        return Response(stream_with_context(iter(lambda: request.stream.read(1000), b"")))

    @app.get("/streamed/empty")
    def empty() -> Any:
        return Response(iter(()))

    @app.get("/streamed/large")
    def large() -> Any:
        return Response(iter([LONG[:100_000], LONG[100_000:]]))


def _files(app: flask.Flask) -> None:
    @app.get("/file")
    def file() -> Any:
        return flask.send_file(FILE, max_age=60)

    @app.get("/file/attached")
    def attached() -> Any:
        return flask.send_file(FILE, as_attachment=True, download_name="wörter.txt", etag=False)

    @app.get("/file/memory")
    def memory() -> Any:
        return flask.send_file(io.BytesIO(LONG), mimetype="text/plain", conditional=True, etag="long")

    @app.get("/file/directory/<path:name>")
    def directory(name: str) -> Any:
        return flask.send_from_directory(FILE.parent, name)


def _hooks(app: flask.Flask) -> None:
    @app.before_request
    def before() -> Any:
        g.order = ["before"]
        return ("stopped early", 403) if "stop" in request.args else None

    @app.after_request
    def after(response: Response) -> Response:
        if request.path.startswith("/hooks"):
            g.order.append("after")
            response.headers["X-Order"] = ",".join(g.order)
        return response

    @app.get("/hooks")
    def hooks() -> str:
        @flask.after_this_request
        def this(response: Response) -> Response:
            g.order.append("this")
            response.headers["X-This"] = "1"
            return response

        return "hooked"

    @app.get("/hooks/failing")
    def failing() -> str:
        @flask.after_this_request
        def this(response: Response) -> Response:
            raise ValueError("in a hook")

        return "never seen"


def _errors(app: flask.Flask) -> None:
    @app.get("/abort/<int:code>")
    def aborting(code: int) -> Any:
        abort(code)

    @app.get("/abort/response")
    def abort_response() -> Any:
        abort(Response("given up", 409, {"X-Given": "up"}))

    @app.get("/abort/described")
    def described() -> Any:
        abort(400, description="<b>not</b> so")

    @app.get("/raise")
    def raising() -> Any:
        raise ValueError("raised by the view")

    class Special(Exception):
        pass

    @app.errorhandler(Special)
    def special(error: Special) -> Any:
        return {"special": str(error)}, 422

    @app.get("/raise/special")
    def raising_special() -> Any:
        raise Special("handled")

    @app.get("/raise/key")
    def key() -> Any:
        return request.args["missing"]


def _wsgi(app: flask.Flask) -> None:
    """Responses that no Flask view can give, by a WSGI application within."""
    flask_wsgi = app.wsgi_app

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith("/raw/"):
            return flask_wsgi(environ, start_response)
        return _raw(path.removeprefix("/raw/"), environ, start_response)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _raw(name: str, environ: dict[str, Any], start_response: Any) -> Any:  # noqa: C901 - one application each
    plain = [("Content-Type", "text/plain")]
    if name == "write":
        write = start_response("200 OK", plain)
        write(b"written ")
        write(b"")
        write(b"twice, ")
        return [b"then given"]
    if name == "late":
        return _late(start_response)
    if name == "replaced":
        start_response("200 OK", [("Content-Type", "text/html"), ("X-First", "1")])
        try:
            raise ValueError("noticed in time")
        except ValueError as error:
            start_response("503 Sorry", plain, (type(error), error, error.__traceback__))
        return [b"replaced"]
    if name == "raises":
        raise ValueError("outside of Flask")
    if name == "raises-later":
        return _raises(start_response)
    if name == "reason":
        start_response("200 Very Well", plain)
        return [b"well"]
    if name == "odd-status":
        start_response("299 Odd", plain)
        return [b"odd"]
    if name == "status-alone":
        start_response("200", plain)
        return [b"alone"]
    if name == "nothing":
        start_response("200 OK", plain)
        return []
    if name == "empty-first":
        start_response("200 OK", plain)
        return iter([b"", b"", b"after nothing"])
    if name == "length":
        start_response("200 OK", [*plain, ("content-length", "4")])
        return [b"four", b" and more"]
    if name == "file":
        start_response("200 OK", plain)
        return environ["wsgi.file_wrapper"](FILE.open("rb"))
    if name == "blocks":
        start_response("200 OK", plain)
        return environ["wsgi.file_wrapper"](io.BytesIO(LONG), 100)
    if name == "errors":
        environ["wsgi.errors"].write("said to wsgi.errors\n")
        environ["wsgi.errors"].flush()
        start_response("200 OK", plain)
        return [b"said"]
    if name == "head":
        start_response("200 OK", [*plain, ("Content-Length", "7")])
        return [b"content"]
    start_response("404 Not Found", plain)
    return [b"no such"]


def _late(start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Late", "1")])
    yield b"started "
    yield b"late"


def _raises(start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
    yield b"some of it"
    raise ValueError("in the middle")


app = create_app()
