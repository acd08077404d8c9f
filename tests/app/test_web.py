"""What holds for every page: CSRF, errors, headers, request ids, static files, health."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart as PlainQuart
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests, default_exceptions

from app import create_app
from app.accounts import service as accounts_service
from decant import Quart
from decant.ops.registry import readiness

from .conftest import PASSWORD, Make, Person, in_service, text_of, until_ready

People = Callable[[], Person]
FORM = {"username": "ada", "password": PASSWORD}


async def test_a_form_without_its_token_is_refused(person: People) -> None:
    """No token, somebody else's, or no session: 400 that says to reload."""
    ada, eve = person(), person()
    await ada.get("/register")
    await eve.get("/register")
    for token in ("", "x", "ü", eve.token, ada.token[:-1]):
        response = await ada.post("/register", {**FORM, "csrf_token": token})
        assert response.status_code == 400
        assert "send it again" in await text_of(response)
    response = await person().post("/register", {**FORM, "csrf_token": ada.token})
    assert response.status_code == 400
    assert "session cookie" in await text_of(response)
    assert (await ada.post("/register", FORM)).status_code == 303


async def test_attributes_have_blanks_between_them(person: People) -> None:
    """In empty forms, and in those that come back with errors: HTML wants one after each quoted value."""
    ada = person()
    await ada.register("ada")
    pages = [await person().get("/register"), await person().get("/login"), await ada.get("/links/new")]
    pages += [await ada.post("/links/new", {"target": "", "slug": "x", "max_visits": "no"}), await ada.get("/account")]
    for page in pages:
        text = await text_of(page)
        assert "<input" in text
        assert re.findall(r'<[a-z][^<>]*="[^"]*"[^\s/>]', text) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_form_of_another_site_is_refused(person: People, headers: dict[str, str]) -> None:
    """Even with the right token: where the browser says that it comes from decides first."""
    ada = person()
    await ada.get("/register")
    assert (await ada.post("/register", FORM, headers=headers)).status_code == 403
    assert (await ada.post("/register", FORM)).status_code == 303


async def test_forms_come_from_the_public_origin_too(make: Make) -> None:
    """Behind a proxy that is not announced, PUBLIC_URL says what our origin is."""
    ada = Person((await make(PUBLIC_URL="https://sho.rt")).test_client())
    await ada.get("/register")
    assert (await ada.post("/register", FORM, headers={"Origin": "https://sho.rt"})).status_code == 303


async def test_every_form_of_every_page_is_checked(ada: Person, app: Quart) -> None:
    """No route that changes anything takes a form without a token: found by the routes themselves."""
    await ada.link(slug="mine")
    tried = 0
    for rule in app.url_map.iter_rules():
        if not {"POST", "PUT", "PATCH", "DELETE"} & set(rule.methods or ()) or rule.rule.startswith("/api"):
            continue
        if rule.endpoint.startswith("monitor."):  # has tokens of its own: tests/monitor
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        method = "POST" if "POST" in (rule.methods or ()) else "DELETE"
        response = await ada.client.open(path, method=method, data={"target": "https://example.com"})
        assert response.status_code == 400, rule
        tried += 1
    assert tried >= 9


async def test_a_page_takes_forms_only(ada: Person) -> None:
    """JSON sent to a page is 415, unless a script shows the token."""
    response = await ada.client.post("/links/new", json={"target": "https://example.com/"})
    assert response.status_code == 415
    shown = await ada.client.post("/links/new", json={"a": 1}, headers={"X-CSRF-Token": ada.token})
    assert shown.status_code == 422


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/nothing/here", "text/html,*/*;q=0.8", "text/html"),
        ("/nothing/here", "*/*", "text/html"),
        ("/nothing/here", "application/json", "application/problem+json"),
        ("/nothing/here", "application/problem+json", "application/problem+json"),
        ("/api/nothing", "text/html", "application/problem+json"),
    ],
)
async def test_errors_speak_the_clients_language(app: Quart, path: str, accept: str, kind: str) -> None:
    """A page for people; problem+json for programs and for everything below /api/."""
    response = await app.test_client().get(path, headers={"Accept": accept, "X-Request-ID": "abc-1"})
    assert response.status_code == 404
    assert response.mimetype == kind
    body = await response.get_data(as_text=True)
    assert "abc-1" in body
    if kind != "text/html":
        problem = await response.get_json()
        assert problem["status"] == 404
        assert problem["title"] == "Not Found"


async def test_a_wrong_method_is_405_and_says_which_are_right(app: Quart) -> None:
    """With ``Allow``."""
    response = await app.test_client().delete("/login")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]


async def test_a_body_that_is_too_large_is_413(make: Make) -> None:
    """Above MAX_CONTENT_LENGTH, with a page."""
    somebody = Person((await make(MAX_CONTENT_LENGTH=2048)).test_client())
    await somebody.get("/login")
    response = await somebody.post("/login", {"username": "x" * 5000})
    assert response.status_code == 413
    assert "<h1>" in await text_of(response)


async def test_a_bug_is_a_500_that_tells_nothing(
    app: Quart, person: People, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The page has the request's id and no detail; the log has the traceback."""

    async def broken(*_: object) -> None:
        raise KeyError("the secret detail")

    monkeypatch.setattr(accounts_service, "authenticate", broken)
    somebody = person()
    await somebody.get("/login")
    response = await somebody.post("/login", FORM, headers={"X-Request-ID": "bug-1"})
    page = await text_of(response)
    assert response.status_code == 500
    assert "bug-1" in page
    assert "secret detail" not in page
    assert "the secret detail" in caplog.text


async def test_without_its_database_a_page_is_503(make: Make) -> None:
    """Refused connections are 503 with Retry-After, as a page; what needs no database goes on."""
    app = await make(DATABASE_URL="postgresql://nobody@/none?host=/nonexistent")
    somebody = Person(app.test_client())
    await somebody.get("/login")
    response = await somebody.post("/login", FORM)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "<h1>" in await text_of(response)
    assert (await somebody.get("/")).status_code == 200
    assert (await somebody.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/login", "/nothing", "/static/css/site.css", "/healthz", "/links", "/favicon.ico", "/robots.txt"]
)
async def test_security_headers_are_on_everything(app: Quart, path: str) -> None:
    """Pages, errors, redirects and files: a content security policy without exceptions, no sniffing, no framing."""
    headers = (await app.test_client().get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "data:" not in policy
    for part in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert headers["Cache-Control"]
    assert "Strict-Transport-Security" not in headers


async def test_https_is_remembered(app: Quart) -> None:
    """HSTS when, and only when, the request came by https."""
    response = await app.test_client().get("/", base_url="https://sho.rt")
    assert "max-age=31536000" in response.headers["Strict-Transport-Security"]


async def test_no_page_has_script_or_style_within(ada: Person) -> None:
    """Nothing that the policy forbids: no inline script, style, handler, or file of another host."""
    await ada.link(slug="mine", tags="a")
    pages = [
        "/links",
        "/links?q=zzz",
        "/links/new",
        "/links/mine",
        "/links/mine/edit",
        "/links/mine/delete",
        "/account",
    ]
    await ada.post("/links/new", {"target": ""})
    for path in [*pages, "/nothing"]:
        page = await (await ada.get(path)).get_data(as_text=True)
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), path
        assert not re.search(r"<style|\bstyle=|\son[a-z]+=|javascript:", page), path
        linked = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', page)
        assert linked
        assert [url for url in linked if not re.fullmatch(r"/static/.+|/links/mine/qr\.svg", url)] == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-DEF_1.2", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("<script>", False), ("", False)],
)
async def test_a_sane_request_id_is_kept(app: Quart, given: str, kept: bool) -> None:
    """What a proxy sends is sent back, if it cannot do harm in a log; else one is made up."""
    response = await app.test_client().get("/healthz", headers={"X-Request-ID": given})
    assert (response.headers["X-Request-ID"] == given) is kept
    assert len(response.headers["X-Request-ID"]) >= 7


async def test_proxies_are_believed_only_when_announced(make: Make) -> None:
    """X-Forwarded-Proto makes a request https with PROXY_HOPS=1, and nothing without."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "sho.rt"}
    plain = await (await make()).test_client().get("/", headers=headers)
    proxied = await (await make(PROXY_HOPS=1)).test_client().get("/", headers=headers)
    assert "Strict-Transport-Security" not in plain.headers
    assert "Strict-Transport-Security" in proxied.headers


async def test_static_files_may_be_kept_for_ever_by_their_hash(app: Quart) -> None:
    """Addresses in pages carry the file's hash and are immutable; a plain or an outdated one is not."""
    client = app.test_client()
    page = await (await client.get("/")).get_data(as_text=True)
    path = re.search(r'href="(/static/css/site\.css\?t=[0-9a-f]+)"', page)
    assert path is not None
    hashed = await client.get(path[1])
    assert "immutable" in hashed.headers["Cache-Control"]
    for other in ("/static/css/site.css", "/static/css/site.css?t=0"):
        assert (await client.get(other)).headers["Cache-Control"] == "public, max-age=300"
    again = await client.get(path[1], headers={"If-None-Match": hashed.headers["ETag"]})
    assert again.status_code == 304
    assert "Cookie" not in hashed.headers.get("Vary", "")
    assert "Set-Cookie" not in hashed.headers
    assert (await client.get("/static/../config.py")).status_code == 404
    assert (await client.get("/static/%2e%2e/config.py")).status_code == 404


async def test_static_files_are_compressed_when_the_application_starts(make: Make) -> None:
    """Scripts and styles go out with brotli or gzip, with the headers of every response of ours."""
    client = (await make(CDN_COMPRESS=True)).test_client()
    for encoding in ("br", "gzip"):
        response = await client.get("/static/css/site.css", headers={"Accept-Encoding": encoding})
        assert response.headers["Content-Encoding"] == encoding
        assert response.headers["Vary"] == "Accept-Encoding"
        assert "Content-Security-Policy" in response.headers
    plain = await client.get("/static/css/site.css")
    assert "Content-Encoding" not in plain.headers


async def test_pages_are_nobody_elses(ada: Person) -> None:
    """A page is kept by no cache: after logging out, the back button shows nothing."""
    assert (await ada.get("/links")).headers["Cache-Control"] == "private, no-store"


async def test_readiness_is_what_the_checks_say(app: Quart) -> None:
    """200 with every check's state; one that fails makes it 503 without telling why."""
    ready = await until_ready(app)
    assert ready["ready"] is True
    assert ready["checks"]["database"] == "ok"

    async def failing() -> None:
        raise ConnectionRefusedError("the inner host's name")

    readiness("something", failing, app=app)
    failed = await app.test_client().get("/readyz")
    assert failed.status_code == 503
    assert (await failed.get_json())["checks"]["something"] == "failed"
    assert "inner host" not in await failed.get_data(as_text=True)
    assert (await app.test_client().get("/healthz")).status_code == 200


async def test_without_redis_pages_go_on(make: Make) -> None:
    """Redis away is ``degraded``, not 503: people log in and make links all the same."""
    app = await make(REDIS_URL="redis://127.0.0.1:1/0")
    assert (await until_ready(app))["checks"]["redis"] == "degraded"
    ada = Person(app.test_client())
    await ada.register("ada")
    assert (await ada.link(slug="mine")).status_code == 303
    assert (await ada.post("/links/mine/delete")).status_code == 303


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429, 500, 503])
async def test_every_error_is_a_page_and_a_problem(settings: dict[str, Any], status: int) -> None:
    """Whatever a view aborts with: HTML for people, problem+json for programs, the same status and sentence."""
    app = await asyncio.to_thread(create_app, settings)

    @app.get("/pages/fail")
    async def fail() -> None:
        error = default_exceptions[status](description="What was wrong.")
        if isinstance(error, TooManyRequests | ServiceUnavailable):
            error.retry_after = 7
        raise error

    async with in_service(app):
        page = await app.test_client().get("/pages/fail")
        problem = await app.test_client().get("/pages/fail", headers={"Accept": "application/json"})
    for response in (page, problem):
        assert response.status_code == status
        assert response.headers.get("Retry-After") == ("7" if status in (429, 503) else None)
    assert "<h1>" in await text_of(page)
    body = await problem.get_json()
    assert body["status"] == status
    assert body["detail"] == ("What was wrong." if status != 500 else body["detail"])
    assert ("What was wrong." in await text_of(page)) is (status != 500)


async def test_the_application_is_a_quart(app: Quart) -> None:
    """Whatever serves or extends a Quart application takes this one."""
    assert isinstance(app, PlainQuart)
