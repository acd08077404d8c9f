"""Accounts: what a person can do with one, and what nobody else can."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy import select

from app.accounts.current import safe_next
from app.accounts.passwords import passwords
from app.extensions import db
from app.models import ApiToken, User
from decant import Quart

from .conftest import KEY, PASSWORD, Make, Person, text_of

People = Callable[[], Person]


async def test_a_person_registers_logs_out_and_in_again(person: People) -> None:
    """Registering logs in; logging out ends that; the password opens the account again, in any case of the name."""
    ada = person()
    assert (await ada.register("Ada")).status_code == 303
    assert "ada" in await text_of(await ada.get("/account"))
    assert (await ada.post("/logout")).status_code == 303
    assert (await ada.get("/account")).status_code == 303
    assert (await ada.log_in("ADA")).headers["Location"] == "/links"
    assert (await ada.get("/account")).status_code == 200


@pytest.mark.parametrize(
    ("username", "password", "sentence"),
    [
        ("", PASSWORD, "3 to 32"),
        ("ab", PASSWORD, "3 to 32"),
        ("a" * 33, PASSWORD, "3 to 32"),
        ("a b c", PASSWORD, "only letters"),
        ("-abc", PASSWORD, "begins and ends"),
        ("adä", PASSWORD, "only letters"),
        ("ada\x00", PASSWORD, "only letters"),
        ("taken", PASSWORD, "is taken"),
        ("TAKEN", PASSWORD, "is taken"),
        ("grace", "short", "at least 10"),
        ("grace", "x" * 1001, "at most 1000"),
        ("grace", "password123", "first that would be guessed"),
        ("grace", "aaaaaaaaaaaa", "first that would be guessed"),
        ("gracehopper", "gracehopper", "not your user name"),
    ],
)
async def test_registration_is_refused_with_a_sentence(
    person: People, username: str, password: str, sentence: str
) -> None:
    """A bad name or password is said beside its field; the name is shown again, the password never."""
    await person().register("taken")
    grace = person()
    await grace.get("/register")
    response = await grace.post("/register", {"username": username, "password": password})
    page = await text_of(response)
    assert response.status_code == 422
    assert sentence in page
    assert 'aria-invalid="true"' in page
    assert "<title>Error:" in page
    assert f'value="{password}"' not in page or password == username


async def test_two_at_once_do_not_get_one_name(app: Quart, person: People) -> None:
    """When two people register the same name at the same time, one is told that it is taken."""
    one, two = person(), person()
    await asyncio.gather(one.get("/register"), two.get("/register"))
    fields = {"username": "ada", "password": PASSWORD}
    answers = await asyncio.gather(one.post("/register", fields), two.post("/register", fields))
    assert sorted(answer.status_code for answer in answers) == [303, 422]


async def test_a_wrong_password_and_an_unknown_name_look_the_same(ada: Person, person: People) -> None:
    """The answer does not tell which names exist."""
    stranger = person()
    await stranger.get("/login")
    wrong = await stranger.post("/login", {"username": "ada", "password": "wrong wrong wrong"})
    await stranger.get("/login")
    unknown = await stranger.post("/login", {"username": "bob", "password": "wrong wrong wrong"})
    assert wrong.status_code == unknown.status_code == 422
    assert "user name or the password is wrong" in await text_of(wrong)
    assert "user name or the password is wrong" in await text_of(unknown)


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(make: Make) -> None:
    """Names cannot be found out by the clock: both hash once (here at a cost that shows)."""
    app = await make(ARGON2_TIME_COST=4, ARGON2_MEMORY_COST_KIB=4096)
    least: dict[str | None, float] = {}
    async with app.app_context():
        hashed = await passwords().hash(PASSWORD)
        for _ in range(100):  # until each was left alone once
            for known in (hashed, None):
                started = time.perf_counter()
                assert not await passwords().verify(known, "wrong wrong wrong")
                least[known] = min(time.perf_counter() - started, least.get(known, 60.0))
            if 0.5 < least[None] / least[hashed] < 2:
                break
    assert 0.5 < least[None] / least[hashed] < 2, "the least disturbed of each"


async def test_nobodys_password_opens_nothing(make: Make) -> None:
    """The hash that unknown names are compared with is not an account."""
    async with (await make()).app_context():
        assert not await passwords().verify(None, "nobody has this password")


async def test_a_login_rehashes_when_the_parameters_have_changed(make: Make) -> None:
    """After ARGON2_* changes, each account's hash follows at its next log-in, and the password stays."""
    await Person((await make()).test_client()).register("ada")
    new = await make(ARGON2_TIME_COST=2)
    ada = Person(new.test_client())
    assert (await ada.log_in("ada")).status_code == 303
    async with new.app_context():
        hashed = await db.session.scalar(select(User.password_hash))
    assert ",t=2," in hashed
    await ada.post("/logout")
    assert (await ada.log_in("ada")).status_code == 303


async def test_log_out_everywhere_ends_other_browsers_sessions(ada: Person, person: People) -> None:
    """Every cookie made before is worth nothing, on the other devices too; a new log-in works."""
    phone = person()
    await phone.log_in("ada")
    assert (await phone.get("/account")).status_code == 200
    await ada.post("/account/logout-everywhere")
    assert (await phone.get("/account")).status_code == 303
    assert (await ada.get("/account")).status_code == 303
    await phone.log_in("ada")
    assert (await phone.get("/account")).status_code == 200


async def test_a_new_password_ends_other_sessions_and_keeps_this_one(ada: Person, person: People) -> None:
    """The old password is wrong afterwards; who changed it stays logged in; other devices do not."""
    phone = person()
    await phone.log_in("ada")
    fields = {"current_password": PASSWORD, "new_password": "a wholly different one"}
    assert (await ada.post("/account/password", fields)).status_code == 303
    assert (await ada.get("/account")).status_code == 200
    assert (await phone.get("/account")).status_code == 303
    assert (await phone.log_in("ada")).status_code == 422
    assert (await phone.log_in("ada", "a wholly different one")).status_code == 303


async def test_a_new_password_needs_the_current_one(ada: Person) -> None:
    """A borrowed browser cannot take over the account."""
    fields = {"current_password": "a guess at it", "new_password": "short"}
    response = await ada.post("/account/password", fields)
    page = await text_of(response)
    assert response.status_code == 422
    assert "not your password" in page
    assert "at least 10" in page


async def test_who_waits_for_a_hash_holds_no_connection(
    app: Quart, person: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing may queue: registering, logging in and changing the password leave the database to others meanwhile."""
    threads = app.extensions["passwords"].threads
    hashed, held = threads.run, list[int]()

    async def run(*args: Any) -> Any:
        held.append(db.engine.pool.checkedout())
        return await hashed(*args)

    monkeypatch.setattr(threads, "run", run)
    ada = person()
    await ada.register("ada")
    await ada.log_in("ada")
    form = {"current_password": PASSWORD, "new_password": "another long one"}
    assert (await ada.post("/account/password", form)).status_code == 303
    assert held == [0, 0, 0, 0]


async def test_a_login_begins_a_new_session(ada: Person, person: People) -> None:
    """What somebody planted in the session before (a known token) is gone after the log-in."""
    victim = person()
    await victim.get("/login")
    planted = victim.token
    async with victim.client.session_transaction() as session:
        session["planted"] = "by somebody else"
    await victim.log_in("ada")
    async with victim.client.session_transaction() as session:
        assert "planted" not in session
        assert session["csrf"] != planted


@pytest.mark.parametrize("path", ["/account", "/links", "/links/new", "/links?q=a&tag=b", "/links/abc?days=7"])
async def test_who_is_not_logged_in_is_sent_back_after_the_login(ada: Person, person: People, path: str) -> None:
    """A page that needs an account leads to the log-in page, and that leads back."""
    somebody = person()
    response = await somebody.get(path)
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/login?next=")
    await somebody.get(response.headers["Location"])
    again = await somebody.post("/login", {"username": "ada", "password": PASSWORD, "next": path})
    assert again.headers["Location"] == path


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example/",
        "/\n/evil.example/",
        "javascript:alert(1)",
        "links",
        "/" + "x" * 3000,
        "/a\x00",
    ],
)
async def test_nobody_is_sent_elsewhere_after_the_login(ada: Person, person: People, after: str) -> None:
    """``next=`` is taken only if it is a path of this site."""
    assert safe_next(after) is None
    somebody = person()
    response = await somebody.log_in("ada", next=after)
    assert response.headers["Location"] == "/links"


def flask_serializer(key: str) -> Any:
    flask = Flask(__name__)
    flask.secret_key = key
    return SecureCookieSessionInterface().get_signing_serializer(flask)


async def test_flask_reads_the_session(ada: Person) -> None:
    """The cookie is Flask's: a Flask application with the same key sees who is logged in, and the other way round."""
    serializer = await asyncio.to_thread(flask_serializer, KEY)
    cookie = next(cookie for cookie in ada.client.cookie_jar if cookie.name == "session")
    read = serializer.loads(cookie.value)
    assert {"user_id", "epoch", "csrf", "_permanent"} <= read.keys()
    cookie.value = serializer.dumps({"user_id": read["user_id"], "epoch": read["epoch"]})
    assert (await ada.get("/account")).status_code == 200


@pytest.mark.parametrize(
    ("settings_more", "base_url", "secure"),
    [
        ({}, "http://localhost", False),
        ({}, "http://127.0.0.1:8000", False),
        ({}, "http://[::1]:8000", False),
        ({}, "http://sho.rt", True),
        ({}, "https://sho.rt", True),
        ({}, "https://localhost", True),
        ({"SESSION_COOKIE_SECURE": True}, "http://localhost", True),
        ({"SESSION_COOKIE_SECURE": False}, "http://sho.rt", False),
    ],
)
async def test_the_cookie_is_secure_http_only_and_lax(
    make: Make, settings_more: dict[str, Any], base_url: str, secure: bool
) -> None:
    """``Secure`` wherever that does not lose the cookie, or as configured; scripts never see it."""
    app = await make(**settings_more)
    response = await app.test_client().get("/login", base_url=base_url)
    cookie = response.headers["Set-Cookie"]
    assert ("Secure" in cookie) is secure
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


async def test_a_forged_or_old_cookie_is_nobody(ada: Person, app: Quart) -> None:
    """A cookie that was signed with another key, or says something odd, is no log-in and no error."""
    serializers = [await asyncio.to_thread(flask_serializer, key) for key in ("another key, not ours at all", KEY)]
    forged = serializers[0].dumps({"user_id": 1, "epoch": 0})
    odd = [
        serializers[1].dumps(content)
        for content in ({"user_id": "1"}, {"user_id": 10**30}, {"user_id": 1, "epoch": "x"})
    ]
    for cookie in (forged, *odd, "garbage", "\"'"):
        client = app.test_client()
        client.set_cookie("localhost", "session", cookie)
        assert (await client.get("/account")).status_code == 303, cookie


async def test_a_token_is_shown_once_and_kept_as_a_hash(ada: Person, app: Quart) -> None:
    """The page that makes a token shows it; no later page does, and the database could not."""
    response = await ada.post("/account/tokens", {"name": "backup script"})
    page = await text_of(response)
    assert response.status_code == 201
    secret = page.split('id="secret" readonly value="')[1].split('"')[0]
    assert len(secret) == 47
    later = await text_of(await ada.get("/account"))
    assert "backup script" in later
    assert secret not in later
    assert secret[:10] in later
    async with app.app_context():
        token = await db.session.scalar(select(ApiToken))
        assert secret.encode() not in token.digest
        assert secret not in repr(vars(token))


@pytest.mark.parametrize(("name", "sentence"), [("", "Say what"), ("x" * 65, "at most 64"), ("a\nb", "line breaks")])
async def test_a_token_needs_a_name(ada: Person, name: str, sentence: str) -> None:
    """1 to 64 characters on one line."""
    response = await ada.post("/account/tokens", {"name": name})
    assert response.status_code == 422
    assert sentence in await text_of(response)


async def test_a_token_opens_its_owners_account_until_it_is_revoked(ada: Person, person: People, app: Quart) -> None:
    """Nobody else can revoke it; once revoked it is nobody's. Its last use is kept to the hour."""
    from app.accounts.tokens import authenticate

    page = await text_of(await ada.post("/account/tokens", {"name": "script"}))
    secret = page.split('id="secret" readonly value="')[1].split('"')[0]
    async with app.app_context():
        owner = await authenticate(secret)
        assert owner is not None
        assert owner.username == "ada"
        assert await authenticate(secret[:-1] + ("A" if secret[-1] != "A" else "B")) is None
        assert await authenticate("dct_ü") is None
        identity = await db.session.scalar(select(ApiToken.id).where(ApiToken.last_used_at.is_not(None)))
        assert identity is not None
    eve = person()
    await eve.register("eve")
    assert (await eve.post(f"/account/tokens/{identity}/revoke")).status_code == 404
    assert (await ada.post(f"/account/tokens/{identity}/revoke")).status_code == 303
    async with app.app_context():
        assert await authenticate(secret) is None


async def test_there_are_at_most_fifty_tokens(ada: Person, app: Quart) -> None:
    """The fifty-first is refused with what to do."""
    async with app.app_context():
        owner = await db.session.scalar(select(User))
        db.session.add_all(
            ApiToken(owner_id=owner.id, name=str(n), hint="dct_", digest=n.to_bytes(32, "big")) for n in range(50)
        )
        await db.session.commit()
    response = await ada.post("/account/tokens", {"name": "one more"})
    assert response.status_code == 422
    assert "50 tokens" in await text_of(response)


async def test_registration_can_be_closed(make: Make) -> None:
    """With REGISTRATION=closed nobody registers, and no page offers it."""
    somebody = Person((await make(REGISTRATION="closed")).test_client())
    assert "/register" not in await text_of(await somebody.get("/login"))
    assert (await somebody.get("/register")).status_code == 403
    assert (await somebody.post("/register", {"username": "ada", "password": PASSWORD})).status_code == 403


async def test_a_flood_of_logins_is_answered_with_503(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bounded queue of the hashing threads a log-in is refused at once, with Retry-After; none hangs."""
    app = await make(HASH_THREADS=1, RATE_LOGIN_ACCOUNT="1000 per minute", RATE_LOGIN_ADDRESS="1000 per minute")
    may_hash, verify = threading.Event(), app.extensions["passwords"]._verify

    def hash_later(*args: Any) -> Any:
        assert may_hash.wait(100)
        return verify(*args)

    monkeypatch.setattr(app.extensions["passwords"], "_verify", hash_later)
    people = [Person(app.test_client()) for _ in range(130)]
    for somebody in people:
        await somebody.get("/login")
    fields = {"username": "nobody", "password": PASSWORD}
    waiting = {asyncio.create_task(somebody.post("/login", fields)) for somebody in people}
    refused: list[Any] = []
    async with asyncio.timeout(60):
        while len(refused) < 29:  # all but the one that is hashed, and a hundred that queue
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused += [task.result() for task in done]
    assert {answer.status_code for answer in refused} == {503}
    assert int(refused[0].headers["Retry-After"]) >= 1
    may_hash.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [422] * 101
