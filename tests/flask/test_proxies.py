"""``share_proxies()``: Flask's extensions, unchanged, in a Quart application that a real server serves."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any

import aiohttp
import flask
import pytest
from flask_babel import Babel, format_decimal, gettext
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user, user_logged_in
from flask_moment import Moment
from flask_principal import Identity, Permission, Principal, RoleNeed, identity_changed, identity_loaded
from flask_talisman import Talisman
from flask_wtf import CSRFProtect, FlaskForm
from flask_wtf.file import FileAllowed, FileField, FileRequired
from werkzeug.exceptions import Forbidden
from wtforms import StringField
from wtforms.validators import DataRequired

from decant.flask import waiting
from decant.quart import Blueprint, Quart, g, render_template_string, stream_template_string, websocket
from tests.flask.visiting import Visitor, make_app, visiting
from tests.serving import serve

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # Flask-Login's


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

    add_more(app)
    return app


def add_more(app: Quart) -> None:
    """Where else the user is known: while a page streams, to error handlers, in WebSockets."""

    @app.get("/stream")
    @login_required
    async def stream() -> Any:
        return await stream_template_string("{{ current_user.id }} {{ url_for('me') }}")

    @app.get("/error")
    async def error() -> Any:
        raise LookupError

    @app.errorhandler(LookupError)
    async def failed(error: LookupError) -> Any:
        return f"{current_user.id} at {flask.request.path}", 418

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send(current_user.id)


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
        assert (await client.get("/stream")).text == "ada /me"
        assert (await client.get("/error")).text == "ada at /error"
        async with client.http.ws_connect(f"{client.url}/ws") as socket:
            assert await socket.receive_str(timeout=10) == "ada"
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


class FileForm(FlaskForm):  # type: ignore[misc]
    file = FileField(validators=[FileRequired(), FileAllowed(["txt"])])


def form_app() -> Quart:
    app = make_app()
    csrf = CSRFProtect(app)

    @app.post("/file")
    async def file() -> Any:
        form = FileForm()
        if form.validate_on_submit():
            copy = io.BytesIO()
            form.file.data.save(app.config["FOLDER"] / form.file.data.filename)
            form.file.data.seek(0)
            form.file.data.save(copy)
            return copy.getvalue()
        return form.errors

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


async def test_an_uploaded_file_is_validated_and_saved_by_a_plain_call(tmp_path: Path) -> None:
    app = await asyncio.to_thread(form_app)
    app.config.update(WTF_CSRF_ENABLED=False, FOLDER=tmp_path)
    async with visiting(app) as client:
        upload, wrong = aiohttp.FormData(), aiohttp.FormData()
        upload.add_field("file", b"text", filename="a.txt")
        wrong.add_field("file", b"text", filename="a.exe")
        assert (await client.post("/file", data=upload)).text == "text"
        assert "approved extension" in (await client.post("/file", data=wrong)).text
    assert await asyncio.to_thread((tmp_path / "a.txt").read_text) == "text"


def blueprints_app() -> Quart:
    """The blueprints that are protected ask for it: ``csrf.exempt`` does not know Quart's."""
    app = make_app(WTF_CSRF_CHECK_DEFAULT=False)
    csrf = CSRFProtect(app)
    pages, api = Blueprint("pages", __name__), Blueprint("api", __name__)
    pages.before_request(csrf.protect)
    pages.post("/page")(lambda: "page")
    api.post("/api")(lambda: "api")
    app.register_blueprint(pages)
    app.register_blueprint(api)
    return app


async def test_flask_wtf_protects_one_blueprint() -> None:
    async with visiting(await asyncio.to_thread(blueprints_app)) as client:
        assert (await client.post("/page")).status_code == 400
        assert (await client.post("/api")).text == "api"


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
