"""What the halves of a mounted application share: sessions, tokens, URLs and the request's id."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import flask_login
import pytest
import quart
from flask.sessions import SecureCookieSessionInterface, SessionInterface
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf, validate_csrf
from werkzeug.routing import BuildError

from decant import Quart
from decant.errors import ConfigError
from decant.flask import RequestIdFilter, mount, request_id
from decant.flask.proxies import share_proxies

KEY = "for tests"


def pair(ours: dict[str, Any] | None = None, theirs: dict[str, Any] | None = None) -> tuple[Quart, flask.Flask]:
    quart_app, flask_app = Quart("ours"), flask.Flask("theirs")
    quart_app.config.update(ours or {})
    flask_app.config.update({"SECRET_KEY": KEY} | (theirs or {}))
    return quart_app, flask_app


@pytest.fixture
def halves() -> tuple[Quart, flask.Flask]:
    return pair()


def sessions(ours: Quart, theirs: flask.Flask) -> None:
    """``/{half}/set?value=``, ``/{half}/get``, ``/{half}/clear`` and flashes, in each half."""

    @ours.get("/quart/set")
    async def set_in_quart() -> str:
        quart.session["value"] = [quart.request.args["value"], ("tuple", datetime(2026, 1, 2, tzinfo=UTC))]
        quart.session.permanent = "permanent" in quart.request.args
        await quart.flash("from quart", "warning")
        return ""

    @theirs.get("/flask/set")
    def set_in_flask() -> str:
        flask.session["value"] = [flask.request.args["value"], ("tuple", datetime(2026, 1, 2, tzinfo=UTC))]
        flask.session.permanent = "permanent" in flask.request.args
        flask.flash("from flask", "warning")
        return ""

    @ours.get("/quart/get")
    async def get_in_quart() -> Any:
        flashes = quart.get_flashed_messages(with_categories=True)
        return {"value": repr(quart.session.get("value")), "flashes": flashes}

    @theirs.get("/flask/get")
    def get_in_flask() -> Any:
        flashes = flask.get_flashed_messages(with_categories=True)
        return {"value": repr(flask.session.get("value")), "flashes": flashes}

    ours.get("/quart/clear")(_clear_in_quart)
    theirs.get("/flask/clear")(lambda: flask.session.clear() or "")


async def _clear_in_quart() -> str:
    quart.session.clear()
    return ""


@pytest.mark.parametrize(("writes", "reads"), [("quart", "flask"), ("flask", "quart")])
async def test_a_session_goes_to_and_fro(halves: Any, writes: str, reads: str) -> None:
    """Values with their types, and flashes, which are shown once; cleared by one, gone for the other."""
    sessions(*halves)
    mount(*halves)
    client = halves[0].test_client()
    await client.get(f"/{writes}/set?value=a")
    expected = ["a", ("tuple", datetime(2026, 1, 2, tzinfo=UTC))]
    found = await (await client.get(f"/{reads}/get")).get_json()
    assert eval(found["value"], {"datetime": __import__("datetime")}) == expected
    assert found["flashes"] == [["warning", f"from {writes}"]]
    assert (await (await client.get(f"/{writes}/get")).get_json())["flashes"] == []
    await client.get(f"/{reads}/clear")
    assert (await (await client.get(f"/{writes}/get")).get_json())["value"] == "None"


async def test_both_halves_set_the_same_cookie() -> None:
    """Byte by byte but for the value, whose time may differ: a browser keeps one cookie."""
    ours, theirs = await asyncio.to_thread(
        pair,
        None,
        {
            "SESSION_COOKIE_NAME": "shop",
            "SESSION_COOKIE_SAMESITE": "Lax",
            "SESSION_COOKIE_SECURE": True,
            "SESSION_COOKIE_DOMAIN": "shop.example",
            "SESSION_COOKIE_PATH": "/",
            "PERMANENT_SESSION_LIFETIME": timedelta(days=3),
        },
    )
    sessions(ours, theirs)
    mount(ours, theirs)
    cookies = []
    for half in ("quart", "flask"):
        client = ours.test_client(use_cookies=False)
        response = await client.get(f"/{half}/set?value=a&permanent", base_url="https://shop.example")
        [cookie] = response.headers.getlist("Set-Cookie")
        cookies.append(re.sub(r"shop=[^;]+|Expires=[^;]+", "", cookie))
        assert response.headers["Vary"] == "Cookie"
    assert cookies[0] == cookies[1]
    assert "SameSite=Lax" in cookies[0]
    assert "Secure" in cookies[0]


async def test_a_session_signed_with_a_fallback_key_is_read_by_both() -> None:
    ours, theirs = await asyncio.to_thread(pair, None, {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["old"]})
    sessions(ours, theirs)
    mount(ours, theirs)
    before = await asyncio.to_thread(flask.Flask, "before")
    before.secret_key = "old"
    signer = before.session_interface.get_signing_serializer(before)  # type: ignore[attr-defined]
    old = signer.dumps({"value": "kept"})
    for half in ("quart", "flask"):
        client = ours.test_client(use_cookies=False)
        found = await (await client.get(f"/{half}/get", headers={"Cookie": f"session={old}"})).get_json()
        assert found["value"] == "'kept'", half


def test_what_quart_does_not_set_is_taken_from_flask() -> None:
    ours, theirs = pair(
        None, {"SESSION_COOKIE_NAME": "shop", "PERMANENT_SESSION_LIFETIME": 3600, "WTF_CSRF_FIELD_NAME": "token"}
    )
    theirs.config["APPLICATION_ROOT"] = "/shop"
    mount(ours, theirs)
    assert (ours.config["SECRET_KEY"], ours.config["SESSION_COOKIE_NAME"]) == (KEY, "shop")
    assert ours.permanent_session_lifetime == timedelta(hours=1)
    assert ours.config["WTF_CSRF_FIELD_NAME"] == "token"
    assert ours.session_interface.get_cookie_path(ours) == "/shop"


def test_a_cookie_that_only_flask_s_prefix_is_sent_stops_the_start() -> None:
    """Taken over, it would hide the session from all of Quart's pages."""
    ours, theirs = pair(None, {"APPLICATION_ROOT": "/legacy"})
    with pytest.raises(ConfigError, match=r"^SESSION_COOKIE_PATH = "):
        mount(ours, theirs, at="/legacy")
    theirs.config["SESSION_COOKIE_PATH"] = "/"
    mount(ours, theirs, at="/legacy")
    assert ours.session_interface.get_cookie_path(ours) == "/"


def test_extensions_of_one_half_only_are_no_difference() -> None:
    """What Flask-WTF sets by default is the default of the other half as well, set or not."""
    ours, theirs = pair(None, {"REMEMBER_COOKIE_NAME": "shop", "REMEMBER_COOKIE_DURATION": 60})
    share_proxies(ours)
    CSRFProtect(ours)
    theirs.config["WTF_CSRF_TIME_LIMIT"] = 60
    mount(ours, theirs)
    assert ours.config["WTF_CSRF_TIME_LIMIT"] == 60
    assert ours.config["REMEMBER_COOKIE_NAME"] == "shop"


def test_a_secret_key_that_only_quart_has_is_given_to_flask() -> None:
    ours, theirs = pair({"SECRET_KEY": "ours"}, {"SECRET_KEY": None})
    mount(ours, theirs)
    assert theirs.secret_key == "ours"


def test_settings_that_exclude_each_other_stop_the_start_with_all_their_names() -> None:
    ours, theirs = pair(
        {"SECRET_KEY": "hidden-1", "SESSION_COOKIE_NAME": "a", "SESSION_COOKIE_SECURE": True},
        {"SECRET_KEY": "hidden-2", "SESSION_COOKIE_NAME": "b"},
    )
    with pytest.raises(ConfigError) as raised:
        mount(ours, theirs)
    text = str(raised.value)
    assert text.startswith("SECRET_KEY, SESSION_COOKIE_NAME, SESSION_COOKIE_SECURE = ")
    assert "SESSION_COOKIE_NAME: 'a' in Quart, 'b' in Flask" in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("key", "value", "other"),
    [
        ("SESSION_COOKIE_PATH", "/a", None),
        ("SECRET_KEY_FALLBACKS", ["x"], ["y"]),
        ("PERMANENT_SESSION_LIFETIME", timedelta(1), timedelta(2)),
        ("SESSION_REFRESH_EACH_REQUEST", False, True),
        ("WTF_CSRF_SECRET_KEY", "x", "y"),
        ("WTF_CSRF_SECRET_KEY", "x", None),
        ("REMEMBER_COOKIE_NAME", "x", None),
    ],
)
def test_each_setting_is_compared(key: str, value: Any, other: Any) -> None:
    ours, theirs = pair({key: value}, {key: other} if other is not None else {})
    with pytest.raises(ConfigError, match=rf"^{key} = "):
        mount(ours, theirs)


def test_equal_settings_written_otherwise_are_equal() -> None:
    mount(
        *pair(
            {"SECRET_KEY": KEY, "SECRET_KEY_FALLBACKS": ("a",), "PERMANENT_SESSION_LIFETIME": 60},
            {"SECRET_KEY_FALLBACKS": ["a"], "PERMANENT_SESSION_LIFETIME": timedelta(minutes=1)},
        )
    )


def test_a_session_interface_that_signs_otherwise_stops_the_start() -> None:
    class Salted(SecureCookieSessionInterface):
        salt = "another"

    ours, theirs = pair()
    theirs.session_interface = Salted()
    with pytest.raises(
        ConfigError, match="session_interface = 'SecureCookieSessionInterface in Quart, Salted in Flask"
    ):
        mount(ours, theirs)


async def test_settings_changed_after_mount_stop_the_start(halves: Any) -> None:
    ours, theirs = halves
    mount(ours, theirs)
    theirs.config["SECRET_KEY"] = "rotated"
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        await ours.startup()


def test_a_session_kept_on_the_server_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    class OnServer(SessionInterface):
        def open_session(self, app: Any, request: Any) -> None:
            return None

        def save_session(self, app: Any, session: Any, response: Any) -> None:
            return None

    ours, theirs = pair()
    theirs.session_interface = OnServer()
    mounted = mount(ours, theirs)
    assert ["OnServer" in note for note in mounted.notes] == [True]
    assert mounted.notes[0] in caplog.text


def csrf_halves() -> tuple[Quart, flask.Flask]:
    ours, theirs = pair()
    CSRFProtect(theirs)
    theirs.add_url_rule("/token", "token", generate_csrf)
    theirs.add_url_rule("/old", "old", lambda: "posted to flask", methods=["POST"])
    return ours, theirs


async def test_a_csrf_token_of_flask_wtf_outlives_requests_to_quart() -> None:
    """A form that Flask rendered is still good after Quart has answered, and changed the session, meanwhile."""
    ours, theirs = await asyncio.to_thread(csrf_halves)
    sessions(ours, theirs)
    mount(ours, theirs)
    client = ours.test_client()
    token = await (await client.get("/token")).get_data(as_text=True)
    await client.get("/quart/set?value=a")
    assert (await client.post("/old", data={"csrf_token": token})).status_code == 200
    assert (await client.post("/old", data={"csrf_token": f"{token}x"})).status_code == 400


# -- URLs -----------------------------------------------------------------------------------------------------------


def linked(at: str | None = None) -> Quart:
    ours, theirs = pair()
    new, old = (
        quart.Blueprint("links", "new", url_prefix="/links"),
        flask.Blueprint("links", "old", url_prefix="/links"),
    )

    @new.get("/<int:number>")
    async def show(number: int) -> str:
        return _urls(quart.url_for)

    @old.get("/edit/<int:number>")
    def edit(number: int) -> str:
        return _urls(flask.url_for)

    @ours.get("/front")
    async def front() -> str:
        return _urls(quart.url_for)

    @theirs.get("/about")
    def about() -> str:
        return _urls(flask.url_for)

    def _urls(url_for: Any) -> str:
        arguments = flask.request.args if url_for is flask.url_for else quart.request.args
        values = {name: value for name, value in arguments.items() if name != "endpoint"}
        flags = {"_external": bool(values.pop("_external", ""))} if "_external" in values else {}
        try:
            return str(url_for(arguments["endpoint"], **values, **flags))
        except BuildError as error:
            return f"BuildError: {error.endpoint}"

    ours.register_blueprint(new)
    theirs.register_blueprint(old)
    mount(ours, theirs, at=at)
    return ours


async def url(app: Quart, path: str, endpoint: str, **values: Any) -> str:
    response = await app.test_client().get(path, query_string={"endpoint": endpoint, **values})
    return str(await response.get_data(as_text=True))


@pytest.mark.parametrize("at", [None, "/legacy"])
async def test_url_for_finds_the_endpoints_of_both_halves(at: str | None) -> None:
    app, prefix = await asyncio.to_thread(linked, at), at or ""
    for path in ("/links/1", "/front", f"{prefix}/links/edit/1", f"{prefix}/about"):
        assert await url(app, path, "links.show", number=7) == "/links/7"
        assert await url(app, path, "links.edit", number=7, a="b") == f"{prefix}/links/edit/7?a=b"
        assert await url(app, path, "front") == "/front"
        assert await url(app, path, "about") == f"{prefix}/about"
        assert await url(app, path, "nowhere") == "BuildError: nowhere"
        assert await url(app, path, "links.edit") == "BuildError: links.edit"


@pytest.mark.parametrize("at", [None, "/legacy"])
async def test_names_relative_to_a_blueprint_are_found_in_the_other_half(at: str | None) -> None:
    app, prefix = await asyncio.to_thread(linked, at), at or ""
    assert await url(app, "/links/1", ".edit", number=7) == f"{prefix}/links/edit/7"
    assert await url(app, f"{prefix}/links/edit/1", ".show", number=7) == "/links/7"
    assert await url(app, "/links/1", ".nowhere") == "BuildError: links.nowhere"


async def test_urls_with_host_scheme_and_anchor() -> None:
    app = await asyncio.to_thread(linked)
    for path, endpoint in (("/front", "about"), ("/about", "front")):
        base = f"//localhost/{endpoint}"
        assert await url(app, path, endpoint, _anchor="a b") == f"/{endpoint}#a%20b"
        assert await url(app, path, endpoint, _external="1") == f"http:{base}"
        assert await url(app, path, endpoint, _external="1", _scheme="https") == f"https:{base}"


def with_languages() -> Quart:
    """As Flask's documentation has it for internationalized URLs: the functions know their own half's rules only."""
    ours, theirs = pair()

    @theirs.url_defaults
    def add_language(endpoint: str, values: dict[str, Any]) -> None:
        if "lang" not in values and flask.g.lang and flask.current_app.url_map.is_endpoint_expecting(endpoint, "lang"):
            values["lang"] = flask.g.lang

    @theirs.url_value_preprocessor
    def pull_language(endpoint: str | None, values: dict[str, Any] | None) -> None:
        flask.g.lang = (values or {}).pop("lang", None)

    @theirs.get("/<lang>/about")
    def about() -> str:
        return " ".join(flask.url_for(endpoint) for endpoint in ("about", "moved"))

    @ours.get("/moved")
    async def moved() -> str:
        return " ".join([quart.url_for("moved"), quart.url_for("about", lang="en")])

    share_proxies(ours)  # with which flask.g is there in Quart, too, but without what Flask's functions put there
    mount(ours, theirs)
    return ours


async def test_url_defaults_are_asked_for_the_endpoints_of_their_half() -> None:
    client = (await asyncio.to_thread(with_languages)).test_client()
    assert await (await client.get("/en/about")).get_data(as_text=True) == "/en/about /moved"
    assert await (await client.get("/moved")).get_data(as_text=True) == "/moved /en/about"


def with_subdomains() -> Quart:
    ours, theirs = Quart("ours", subdomain_matching=True), flask.Flask("theirs", subdomain_matching=True)
    for app in (ours, theirs):
        app.config.update(SERVER_NAME="shop.example", SECRET_KEY=KEY)

    @ours.get("/new", subdomain="new")
    async def new() -> str:
        return " ".join(quart.url_for(endpoint) for endpoint in ("old", "front"))

    @theirs.get("/old", subdomain="old")
    def old() -> str:
        return " ".join(flask.url_for(endpoint) for endpoint in ("new", "front"))

    theirs.add_url_rule("/", "front", lambda: "")
    mount(ours, theirs)
    return ours


@pytest.mark.parametrize(("half", "other"), [("new", "old"), ("old", "new")])
async def test_urls_of_subdomains(half: str, other: str) -> None:
    client = (await asyncio.to_thread(with_subdomains)).test_client()
    page = await client.get(f"/{half}", headers={"Host": f"{half}.shop.example"})
    assert await page.get_data(as_text=True) == f"http://{other}.shop.example/{other} http://shop.example/"


async def test_outside_of_a_request_urls_need_a_server_name() -> None:
    app = await asyncio.to_thread(linked, "/legacy")
    theirs = app.extensions["decant.flask"].flask
    async with app.app_context():
        with pytest.raises(RuntimeError, match="SERVER_NAME"):
            quart.url_for("about")
    app.config["SERVER_NAME"] = theirs.config["SERVER_NAME"] = "shop.example"
    async with app.app_context():
        assert quart.url_for("about") == "http://shop.example/legacy/about"
    with theirs.app_context():
        assert flask.url_for("front") == "http://shop.example/front"


# -- the request's id -----------------------------------------------------------------------------------------------


async def test_one_id_per_request_for_both_halves_the_log_and_the_client(
    halves: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = halves

    @ours.get("/new")
    async def new() -> Any:
        logging.getLogger("shop").warning("in quart")
        return [request_id(), quart.request.headers["X-Request-ID"]]

    @theirs.get("/old")
    def old() -> Any:
        logging.getLogger("shop").warning("in flask")
        logging.getLogger("job").warning("has one", extra={"request_id": "of its own"})
        return [request_id(), flask.request.headers["X-Request-ID"]]

    mount(ours, theirs)
    monkeypatch.setattr(caplog.handler, "filters", [RequestIdFilter()])
    client = ours.test_client()
    for path in ("/new", "/old"):
        response = await client.get(path, headers={"X-Request-ID": "abc-1"})
        assert await response.get_json() == ["abc-1", "abc-1"]
        assert response.headers.getlist("X-Request-ID") == ["abc-1"]
    made = [(await client.get(path)).headers["X-Request-ID"] for path in ("/new", "/old")]
    refused = (await client.get("/old", headers={"X-Request-ID": "a b<script>"})).headers["X-Request-ID"]
    assert all(re.fullmatch("[0-9a-f]{32}", identity) for identity in (*made, refused))
    ids = [record.request_id for record in caplog.records if record.name == "shop"]
    assert ids == ["abc-1", "abc-1", *made, refused]
    assert {record.request_id for record in caplog.records if record.name == "job"} == {"of its own"}
    assert request_id() is None


# -- with share_proxies ---------------------------------------------------------------------------------------------


@pytest.fixture
def with_extensions() -> Quart:
    """Flask-WTF and Flask-Login in both halves."""
    ours, theirs = pair()

    class User(flask_login.UserMixin):
        id = "7"

    for app in (ours, theirs):
        flask_login.LoginManager(app).user_loader(lambda identity: User() if identity == "7" else None)
    CSRFProtect(theirs)
    share_proxies(ours)

    @ours.get("/quart/token")
    async def quart_token() -> str:
        return generate_csrf()

    @ours.post("/quart/form")
    async def quart_form() -> str:
        validate_csrf((await quart.request.form)["csrf_token"])
        return "posted"

    @ours.get("/quart/login")
    async def quart_login() -> str:
        return str(flask_login.login_user(User()))

    @ours.get("/quart/user")
    async def quart_user() -> str:
        return str(flask_login.current_user.get_id())

    theirs.add_url_rule("/flask/token", "token", lambda: generate_csrf())
    theirs.add_url_rule("/flask/form", "form", lambda: "posted", methods=["POST"])
    theirs.add_url_rule("/flask/login", "login", lambda: str(flask_login.login_user(User())))
    theirs.add_url_rule("/flask/user", "user", lambda: str(flask_login.current_user.get_id()))
    mount(ours, theirs)
    return ours


@pytest.mark.parametrize(("first", "second"), [("quart", "flask"), ("flask", "quart")])
async def test_csrf_tokens_and_log_ins_of_one_half_are_good_in_the_other(
    with_extensions: Quart, first: str, second: str
) -> None:
    """Flask-WTF and Flask-Login themselves, in Flask and, by share_proxies, in Quart."""
    client = with_extensions.test_client()
    token = await (await client.get(f"/{first}/token")).get_data(as_text=True)
    assert await (await client.post(f"/{second}/form", data={"csrf_token": token})).get_data(as_text=True) == "posted"
    assert await (await client.get(f"/{second}/user")).get_data(as_text=True) == "None"
    assert await (await client.get(f"/{first}/login")).get_data(as_text=True) == "True"
    assert await (await client.get(f"/{second}/user")).get_data(as_text=True) == "7"
