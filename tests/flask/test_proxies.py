"""``share_proxies()``: Flask's extensions, unchanged, in a Quart application that a real server serves."""

from __future__ import annotations

import asyncio
import json as jsons
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import flask
import pytest
from flask_babel import Babel, format_decimal, gettext
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user, user_logged_in
from flask_moment import Moment
from flask_principal import Identity, Permission, Principal, RoleNeed, identity_changed, identity_loaded
from flask_talisman import Talisman
from flask_wtf import CSRFProtect, FlaskForm
from werkzeug.exceptions import Forbidden
from wtforms import StringField
from wtforms.validators import DataRequired

from decant.cors import cross_origin
from decant.flask import share_proxies, waiting
from decant.flask.flask_globals import Variables
from decant.quart import Quart, g, make_response, render_template_string, session
from tests.serving import serve

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # Flask-Login's


def make_app(**config: Any) -> Quart:
    app = Quart(__name__, template_folder=None)
    app.config.update(SECRET_KEY="secret", **config)
    share_proxies(app)
    return app


class Answer(NamedTuple):
    status_code: int
    text: str
    headers: Any

    def json(self) -> Any:
        return jsons.loads(self.text)


class Visitor:
    """A browser, as far as it goes: it keeps cookies, and follows no redirects."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jar = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(cookie_jar=self.jar, timeout=aiohttp.ClientTimeout(total=20))

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    @property
    def cookies(self) -> set[str]:
        return {cookie.key for cookie in self.jar}

    def forget(self, name: str) -> None:
        self.jar.clear(lambda cookie: cookie.key == name)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self._ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self._ask("POST", path, **options)

    async def _ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, self.url + path, allow_redirects=False, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)


@asynccontextmanager
async def visiting(app: Quart) -> AsyncIterator[Visitor]:
    async with serve(app) as url, Visitor(url) as client:
        yield client


# -- Flask-Login ---------------------------------------------------------------------------------------------------


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


def login_app(asynchronous: bool) -> Quart:
    app = make_app()
    manager = LoginManager(app)
    manager.login_view = "login"

    async def find(name: str) -> User | None:
        await asyncio.sleep(0)
        return User(name) if name in ("ada", "bob") else None

    def find_plain(name: str) -> User | None:
        return User(name) if name in ("ada", "bob") else None

    manager.user_loader(waiting(find) if asynchronous else find_plain)

    @app.route("/login", methods=["GET", "POST"])
    async def login() -> Any:
        if flask.request.method == "POST":
            login_user(User(flask.request.form["name"]), remember="remember" in flask.request.form)
            return flask.redirect(flask.request.args.get("next") or "/me")
        return await render_template_string("please, {{ get_flashed_messages()[0] }}")

    @app.get("/me")
    @login_required
    async def me() -> Any:
        await asyncio.sleep(0)
        return await render_template_string("{{ current_user.id }} {{ session['_fresh'] }}")

    @app.get("/plain")
    @login_required
    def plain() -> str:
        return f"plain {current_user.id}"

    @app.post("/logout")
    @login_required
    async def logout() -> str:
        logout_user()
        return f"{current_user.is_authenticated}"

    return app


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_flask_login_logs_in_remembers_and_logs_out(asynchronous: bool) -> None:
    """``login_required`` around ``async`` and plain views, a loader that awaits, the remember cookie, a signal."""
    app = await asyncio.to_thread(login_app, asynchronous)
    heard: list[Any] = []

    def listen(sender: Any, user: Any, **_: Any) -> None:
        heard.append(user.id)

    user_logged_in.connect(listen, app)
    async with visiting(app) as client:
        refused = await client.get("/me")
        assert (refused.status_code, refused.headers["Location"]) == (302, "/login?next=%2Fme")
        assert (await client.get("/login")).text == "please, Please log in to access this page."
        answer = await client.post("/login?next=/plain", data={"name": "ada", "remember": "1"})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/plain")
        assert "remember_token" in client.cookies
        assert (await client.get("/me")).text == "ada True"
        assert (await client.get("/plain")).text == "plain ada"
        client.forget("session")
        assert (await client.get("/me")).text == "ada False", "from the remember cookie, which makes no fresh login"
        assert (await client.post("/logout")).text == "False"
        assert "remember_token" not in client.cookies
        assert (await client.get("/me")).status_code == 302
    assert heard == ["ada"]


async def test_logins_at_once_are_not_mixed_up() -> None:
    app = await asyncio.to_thread(login_app, True)
    async with serve(app) as url:

        async def visit(name: str) -> set[str]:
            async with Visitor(url) as client:
                await client.post("/login", data={"name": name})
                return {(await client.get(path)).text for path in ("/me", "/plain") * 5}

        seen = await asyncio.gather(*(visit(name) for name in ("ada", "bob") * 4))
    assert seen == [{f"{name} True", f"plain {name}"} for name in ("ada", "bob") * 4]


# -- Flask-WTF -----------------------------------------------------------------------------------------------------


class NameForm(FlaskForm):  # type: ignore[misc]
    name = StringField("Name", validators=[DataRequired()])


def form_app() -> Quart:
    app = make_app()
    csrf = CSRFProtect(app)

    @app.route("/form", methods=["GET", "POST"])
    async def form() -> Any:
        form = NameForm()
        if form.validate_on_submit():
            return f"hello {form.name.data}"
        return await render_template_string("{{ form.hidden_tag() }}{{ form.name() }}{{ form.errors }}", form=form)

    @app.post("/plain")
    def plain() -> str:
        return f"{flask.request.form['name']} {flask.request.files['file'].read().decode()}"

    @app.post("/hook")
    @csrf.exempt
    async def hook() -> Any:
        return flask.request.get_json()

    return app


async def test_flask_wtf_takes_a_form_with_its_token_and_refuses_others() -> None:
    app = await asyncio.to_thread(form_app)
    async with visiting(app) as client:
        page = (await client.get("/form")).text
        token = re.search(r'name="csrf_token" type="hidden" value="([^"]+)"', page)
        assert token is not None
        good = {"csrf_token": token[1]}
        assert (await client.post("/form", data={**good, "name": "ada"})).text == "hello ada"
        assert "This field is required." in (await client.post("/form", data={**good, "name": ""})).text
        for data in ({"name": "ada"}, {"name": "ada", "csrf_token": "x"}):
            refused = await client.post("/form", data=data)
            assert refused.status_code == 400
            assert "CSRF" in refused.text
        upload = aiohttp.FormData({"name": "bob"})
        upload.add_field("file", b"text", filename="a.txt")
        sent = await client.post("/plain", data=upload, headers={"X-CSRFToken": token[1]})
        assert sent.text == "bob text"
        assert (await client.post("/hook", json={"a": [1]})).json() == {"a": [1]}
        async with Visitor(client.url) as stranger:
            assert (await stranger.post("/form", data={**good, "name": "ada"})).status_code == 400


# -- Flask-Babel ---------------------------------------------------------------------------------------------------


def babel_app(folder: Path) -> Quart:
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo

    messages = folder / "de" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    catalog = Catalog(locale="de")
    catalog.add("Hello", "Hallo")
    with (messages / "messages.mo").open("wb") as file:
        write_mo(file, catalog)
    app = make_app(BABEL_TRANSLATION_DIRECTORIES=str(folder))
    Babel(app, locale_selector=lambda: flask.request.accept_languages.best_match(["de", "en"]))

    @app.get("/")
    def index() -> str:
        text = f"{gettext('Hello')} {format_decimal(0.5)}"  # read from files in this thread, and kept
        return flask.render_template_string("{{ _('Hello') }}, {{ 1234.5 | numberformat }} {{ text }}", text=text)

    @app.get("/async")
    async def asynchronous() -> Any:
        return await render_template_string("{{ gettext('Hello') }}")

    return app


async def test_flask_babel_chooses_the_locale_of_each_request(tmp_path: Path) -> None:
    app = await asyncio.to_thread(babel_app, tmp_path)
    async with visiting(app) as client:
        german, english = ({"Accept-Language": language} for language in ("de-DE,de;q=0.9", "en"))
        assert (await client.get("/", headers=german)).text == "Hallo, 1.234,5 Hallo 0,5"
        assert (await client.get("/", headers=english)).text == "Hello, 1,234.5 Hello 0.5"
        assert (await client.get("/async", headers=german)).text == "Hallo"


# -- Flask-Moment, Flask-Talisman, Flask-Principal -----------------------------------------------------------------


async def test_flask_moment_renders_in_templates() -> None:
    app = await asyncio.to_thread(make_app)
    Moment(app)

    @app.get("/")
    async def index() -> Any:
        return await render_template_string("{{ moment.include_moment() }} {{ moment().format('LLL') }}")

    @app.get("/plain")
    def plain() -> str:
        return flask.render_template_string("{{ moment.lang('de') }}{{ moment().fromNow() }}")

    async with visiting(app) as client:
        page = (await client.get("/")).text
        assert '<script src="https://cdnjs.cloudflare.com/ajax/libs/moment.js/' in page
        assert 'data-function="format" data-format="LLL"' in page
        plain_page = (await client.get("/plain")).text
        assert 'moment.locale("de")' in plain_page
        assert 'data-function="fromNow"' in plain_page


async def test_flask_talisman_redirects_to_https_and_adds_its_headers() -> None:
    """A nonce of each request in the header and in the template; a view of its own rules."""
    app = await asyncio.to_thread(make_app)
    talisman = Talisman(
        app, content_security_policy={"script-src": "'self'"}, content_security_policy_nonce_in=["script-src"]
    )

    @app.get("/")
    async def index() -> Any:
        return await render_template_string("{{ csp_nonce() }}")

    @app.get("/embed")
    @talisman(frame_options="ALLOW-FROM", frame_options_allow_from="*", force_https=False)
    async def embed() -> str:
        return "embedded"

    async with visiting(app) as client:
        insecure = await client.get("/?a=1")
        there = client.url.replace("http://", "https://")
        assert (insecure.status_code, insecure.headers["Location"]) == (302, f"{there}/?a=1")
        secure = await client.get("/", headers={"X-Forwarded-Proto": "https"})
        assert secure.headers["Strict-Transport-Security"] == "max-age=31556926; includeSubDomains"
        assert secure.headers["Content-Security-Policy"] == f"script-src 'self' 'nonce-{secure.text}'"
        assert len(secure.text) > 20
        assert secure.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert secure.headers["X-Content-Type-Options"] == "nosniff"
        other = await client.get("/embed")
        assert (other.text, other.headers["X-Frame-Options"]) == ("embedded", "ALLOW-FROM *")


async def test_flask_principal_knows_the_identity_and_asks_for_permission() -> None:
    app = await asyncio.to_thread(make_app)
    Principal(app)
    admin = Permission(RoleNeed("admin"))

    @identity_loaded.connect_via(app)
    def loaded(sender: Any, identity: Any) -> None:
        if identity.id == "ada":
            identity.provides.add(RoleNeed("admin"))

    @app.post("/login/<name>")
    async def login(name: str) -> str:
        identity_changed.send(flask.current_app._get_current_object(), identity=Identity(name))  # type: ignore[attr-defined]
        return name

    @app.get("/admin")
    @admin.require(403)  # type: ignore[untyped-decorator]
    async def only_admin() -> str:
        return f"admin {g.identity.id}"

    @app.get("/plain")
    def plain() -> str:
        with admin.require(403):
            return f"plain {flask.g.identity.id}"

    async with visiting(app) as client:
        assert [(await client.get(path)).status_code for path in ("/admin", "/plain")] == [403, 403]
        await client.post("/login/bob")
        assert (await client.get("/admin")).status_code == Forbidden.code
        await client.post("/login/ada")
        assert (await client.get("/admin")).text == "admin ada"
        assert (await client.get("/plain")).text == "plain ada"


# -- the proxies themselves ----------------------------------------------------------------------------------------


def proxy_app() -> Quart:
    app = make_app()
    app.config["SERVER_NAME"] = None

    @app.post("/all")
    async def everything() -> Any:
        flask.g.word = "g"
        flask.session["n"] = session.get("n", 0) + 1
        flask.flash("flashed")
        flask.after_this_request(lambda response: response.headers.set("X-After", "yes") or response)
        request = flask.request
        return {
            "form": request.form.to_dict(),
            "values": request.values.to_dict(),
            "contexts": [flask.has_request_context(), flask.has_app_context()],
            "app": flask.current_app == app,
            "g": g.word,
            "url": flask.url_for("everything", page=2),
            "endpoint": request.endpoint,
            "flashes": flask.get_flashed_messages(),
            "template": flask.render_template_string("{{ word }} {{ g.word }}", word="w"),
            "generated": "".join(flask.stream_template_string("{{ word }}", word="s")),
        }

    @app.post("/json")
    def body() -> Any:
        return {"json": flask.request.json, "data": len(flask.request.data), "read": len(flask.request.stream.read())}

    @app.get("/cors")
    @cross_origin(origins="https://a.example")
    async def cors() -> Any:
        return await make_response("ok")

    @app.get("/stream")
    async def stream() -> Any:
        @flask.copy_current_request_context
        def later() -> str:
            return flask.request.args["a"]

        async def parts() -> AsyncIterator[str]:
            yield await asyncio.get_running_loop().run_in_executor(None, later)

        return parts()

    return app


async def test_every_proxy_of_flask_s_has_quart_s_values() -> None:
    app = await asyncio.to_thread(proxy_app)
    async with visiting(app) as client:
        answer = await client.post("/all?q=1", data={"a": "b"})
        assert answer.headers["X-After"] == "yes"
        assert answer.json() == {
            "form": {"a": "b"},
            "values": {"a": "b", "q": "1"},
            "contexts": [True, True],
            "app": True,
            "g": "g",
            "url": "/all?page=2",
            "endpoint": "everything",
            "flashes": ["flashed"],
            "template": "w g",
            "generated": "s",
        }
        assert (await client.post("/json", json=[1, 2])).json() == {"json": [1, 2], "data": 6, "read": 6}
        cors = await client.get("/cors", headers={"Origin": "https://a.example"})
        assert (cors.text, cors.headers["Access-Control-Allow-Origin"]) == ("ok", "https://a.example")
        assert (await client.get("/stream?a=later")).text == "later"


async def test_a_real_context_of_flask_s_wins_and_all_is_set_back() -> None:
    app, real = await asyncio.to_thread(make_app), await asyncio.to_thread(flask.Flask, "real")
    assert not flask.has_app_context()
    async with app.test_request_context("/quart"):
        assert flask.request.path == "/quart"
        with real.test_request_context("/flask"):
            assert (flask.request.path, flask.current_app.name) == ("/flask", "real")
            async with app.test_request_context("/within"):
                assert flask.request.path == "/flask"
        assert (flask.request.path, flask.current_app == app) == ("/quart", True)
    assert not flask.has_request_context()
    assert not flask.has_app_context()
    async with app.app_context():
        assert (flask.current_app == app, flask.has_request_context()) == (True, False)
        flask.g.a = 1
        assert g.a == 1
    assert not flask.has_app_context()


async def test_the_websocket_is_the_request(tmp_path: Path) -> None:
    app = await asyncio.to_thread(make_app)

    @app.websocket("/ws")
    async def ws() -> None:
        from decant.quart import websocket

        await websocket.send(f"{flask.request.path} {flask.request.args['a']} {flask.has_request_context()}")

    async with app.test_client().websocket("/ws?a=1") as connection:
        assert await connection.receive() == "/ws 1 True"


def test_an_application_without_it_is_as_before_and_wrong_ones_are_refused() -> None:
    share_proxies(app := make_app())  # a second time: nothing more
    assert "decant.proxies" in app.extensions
    with pytest.raises(TypeError, match=r"share_proxies\(\) is for a decant.Quart application, not Flask"):
        share_proxies(flask.Flask("x"))  # type: ignore[arg-type]


def test_a_flask_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.flask.flask_globals.version", lambda name: "3.2.0")
    with pytest.raises(RuntimeError, match=r"knows the contexts of Flask 3.0 and 3.1, not those of 3.2.0: install"):
        Variables()
