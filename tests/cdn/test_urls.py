"""``url_for`` in templates and from Python: the domain, the scheme, the fingerprint."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
import quart

from decant.cdn import CDN, url_for
from decant.errors import ConfigError
from decant.faces import face

from .conftest import CSS

DOMAIN = "cdn.example"
APP_CSS = hashlib.sha256(CSS).hexdigest()[:12]
PAGES_CSS = hashlib.sha256(CSS[:4100]).hexdigest()[:12]
Get = Callable[..., Any]

URL_FOR = "flask_cdn.url_for(endpoint, **values)"


async def url(get: Get, app: Any, query: str, **kwargs: Any) -> str:
    status, _, body = await get(app, f"/url?{query}", **kwargs)
    assert status == 200, body
    return str(body.decode())


@pytest.mark.parity("cdn", "CDN(app=None), init_app(app)")
@pytest.mark.parity("cdn", URL_FOR)
@pytest.mark.parity("cdn", "CDN_DOMAIN")
@pytest.mark.parity("cdn", "CDN_TIMESTAMP")
async def test_templates_name_static_files_at_the_domain_with_a_fingerprint(make: Any, get: Get) -> None:
    """``t`` is of the content; other endpoints are left as they are."""
    app = make(CDN_DOMAIN=DOMAIN)
    assert await url(get, app, "e=static&filename=app.css") == f"http://{DOMAIN}/static/app.css?t={APP_CSS}"
    assert await url(get, app, "e=url") == "/url"
    assert await url(get, app, "e=url&_anchor=top") == "/url#top"


@pytest.mark.parity("cdn", "CDN_TIMESTAMP")
async def test_without_timestamps_any_name_is_taken(make: Any, get: Get) -> None:
    app = make(CDN_DOMAIN=DOMAIN, CDN_TIMESTAMP=False)
    assert await url(get, app, "e=static&filename=none.css") == f"http://{DOMAIN}/static/none.css"
    with_anchor = await url(get, app, "e=static&filename=a.svg&_anchor=i&_external=1&v=2")
    assert with_anchor == f"http://{DOMAIN}/static/a.svg?v=2#i"


@pytest.mark.parity("cdn", "CDN_HTTPS")
@pytest.mark.parametrize(
    ("https", "asked", "expected"),
    [(None, "http", "http"), (None, "https", "https"), (True, "http", "https"), (False, "https", "http")],
)
async def test_the_scheme_is_configured_or_the_requests(
    make: Any, get: Get, https: bool | None, asked: str, expected: str
) -> None:
    app = make(CDN_DOMAIN=DOMAIN, CDN_HTTPS=https, CDN_TIMESTAMP=False)
    assert await url(get, app, "e=static&filename=a.js", scheme=asked) == f"{expected}://{DOMAIN}/static/a.js"


@pytest.mark.parity("cdn", URL_FOR)
async def test_scheme_wins_over_the_configuration(make: Any, get: Get) -> None:
    """``_scheme=None`` leaves it to the page that has the address."""
    app = make(CDN_DOMAIN=DOMAIN, CDN_HTTPS=True, CDN_TIMESTAMP=False)
    assert await url(get, app, "e=static&filename=a.js&_scheme=http") == f"http://{DOMAIN}/static/a.js"
    assert await url(get, app, "e=static&filename=a.js&_scheme=None") == f"//{DOMAIN}/static/a.js"


@pytest.mark.parity("cdn", "CDN_DEBUG")
async def test_in_debug_mode_addresses_are_the_frameworks(make: Any, get: Get) -> None:
    """Unless ``CDN_DEBUG`` says otherwise; then outside debug mode, too."""
    debugged = make(debug=True, CDN_DOMAIN=DOMAIN)
    assert await url(get, debugged, "e=static&filename=app.css") == "/static/app.css"
    forced = make(debug=True, CDN_DOMAIN=DOMAIN, CDN_DEBUG=False)
    assert (await url(get, forced, "e=static&filename=app.css")).startswith(f"http://{DOMAIN}/")
    plain = make(CDN_DOMAIN=DOMAIN, CDN_DEBUG=True)
    assert await url(get, plain, "e=static&filename=app.css") == "/static/app.css"


@pytest.mark.parity("cdn", "CDN_ENDPOINTS")
async def test_endpoints_of_that_name_are_static_in_blueprints_too(make: Any, get: Get) -> None:
    """The file is looked for in the folder of the endpoint's blueprint, whichever asks (unlike Flask-CDN)."""
    app = make(CDN_DOMAIN=DOMAIN)
    expected = f"http://{DOMAIN}/pages/assets/app.css?t={PAGES_CSS}"
    assert await url(get, app, "e=pages.static&filename=app.css") == expected
    _, _, body = await get(app, "/pages/url?e=.static&filename=app.css")
    assert body.decode() == expected
    _, _, body = await get(app, "/pages/url?e=static&filename=app.css")
    assert body.decode() == f"http://{DOMAIN}/static/app.css?t={APP_CSS}"
    other = make(CDN_DOMAIN=DOMAIN, CDN_ENDPOINTS=["url"], CDN_TIMESTAMP=False)
    assert await url(get, other, "e=url") == f"http://{DOMAIN}/url"
    assert await url(get, other, "e=pages.url") == f"http://{DOMAIN}/pages/url"
    assert await url(get, other, "e=static&filename=app.css") == "/static/app.css"


async def test_without_a_domain_addresses_have_fingerprints(make: Any, get: Get) -> None:
    """Unlike Flask-CDN, which then does nothing."""
    app = make()
    assert await url(get, app, "e=static&filename=app.css") == f"/static/app.css?t={APP_CSS}"
    assert await url(get, make(CDN_TIMESTAMP=False), "e=static&filename=app.css") == "/static/app.css"


@pytest.mark.parity("cdn", "CDN(app=None), init_app(app)")
@pytest.mark.parity("cdn", URL_FOR)
def test_from_python_outside_a_request(folders: Path) -> None:
    """A command or a job: the scheme is ``PREFERRED_URL_SCHEME``; unknown files and missing names are said."""
    app = flask.Flask(__name__, root_path=str(folders))
    app.config.update(CDN_DOMAIN=DOMAIN, PREFERRED_URL_SCHEME="https")
    face(CDN)().init_app(app)
    with app.app_context():
        assert url_for("static", filename="app.css") == f"https://{DOMAIN}/static/app.css?t={APP_CSS}"
        with pytest.raises(FileNotFoundError, match=r"nowhere\.css"):
            url_for("static", filename="nowhere.css")
        with pytest.raises(KeyError, match="filename"):
            url_for("static")
    with pytest.raises(RuntimeError, match="no application context"):
        url_for("static", filename="app.css")
    with flask.Flask(__name__).app_context(), pytest.raises(RuntimeError, match="no CDN"):
        url_for("static", filename="app.css")


@pytest.mark.parity("cdn", "CDN_TIMESTAMP")
async def test_a_page_with_an_unknown_file_fails(make: Any, get: Get) -> None:
    """As in Flask-CDN (``OSError``), so that a misspelt name is found before production."""
    app = make(CDN_DOMAIN=DOMAIN)
    app.logger.disabled = True
    status, _, _ = await get(app, "/url?e=static&filename=mispelt.css")
    assert status == 500


async def test_a_file_that_is_added_later_has_no_fingerprint(make: Any, folders: Path, get: Get) -> None:
    """As uploads are: it may change, so it is not to be kept for ever."""
    app = make(CDN_DOMAIN=DOMAIN)
    await url(get, app, "e=static&filename=app.css")
    await asyncio.to_thread((folders / "static/later.css").write_bytes, b"b{}")
    await asyncio.to_thread((folders / "beside.css").write_bytes, b"c{}")
    assert await url(get, app, "e=static&filename=later.css") == f"http://{DOMAIN}/static/later.css"
    _, headers, body = await get(app, "/static/later.css")
    assert (body, "immutable" in headers["Cache-Control"]) == (b"b{}", False)
    app.logger.disabled = True
    status, _, _ = await get(app, "/url?e=static&filename=../beside.css")
    assert status == 500


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CDN_DOMAIN", "https://cdn.example"),
        ("CDN_HTTPS", "yes"),
        ("CDN_TIMESTAMP", 1),
        ("CDN_ENDPOINTS", "static"),
        ("CDN_MEMORY", -1),
        ("CDN_COMPRESS", None),
    ],
)
def test_a_wrong_value_stops_the_start(key: str, value: Any, folders: Path) -> None:
    app = quart.Quart(__name__, root_path=str(folders))
    app.config[key] = value
    with pytest.raises(ConfigError, match=f"{key} = "):
        CDN(app)


@pytest.mark.parity("cdn", "CDN_TIMESTAMP")
async def test_the_time_of_the_last_change_as_flask_cdn_has_it(make: Any, get: Get, folders: Path) -> None:
    """With ``CDN_FINGERPRINT = "time"``; a request to a blueprint finds that one's files, too, as there."""
    await asyncio.to_thread((folders / "pages/assets/own.css").write_bytes, b"b{}")
    await asyncio.to_thread(os.utime, folders / "pages/assets/own.css", (1_600_000_000, 1_600_000_000))
    app = make(CDN_DOMAIN=DOMAIN, CDN_FINGERPRINT="time")
    assert await url(get, app, "e=static&filename=app.css") == f"http://{DOMAIN}/static/app.css?t=1700000000"
    _, _, body = await get(app, "/pages/url?e=static&filename=own.css")
    assert body.decode() == f"http://{DOMAIN}/static/own.css?t=1600000000"
    assert (await get(app, "/url?e=static&filename=own.css"))[0] == 500
    _, headers, _ = await get(app, "/static/app.css?t=1700000000")
    assert "immutable" in headers["Cache-Control"]
    _, headers, _ = await get(app, f"/static/app.css?t={APP_CSS}")
    assert "immutable" not in headers["Cache-Control"]


@pytest.mark.parity("cdn", "CDN(app=None), init_app(app)")
async def test_init_app_once_more_reads_the_configuration_anew(make: Any, get: Get) -> None:
    """Also when the application serves already, where nothing can be registered any more."""
    app = make(CDN_DOMAIN=DOMAIN)
    before = getattr(app, "wsgi_app", None), getattr(app, "asgi_app", None)
    assert (await url(get, app, "e=static&filename=app.css")).startswith(f"http://{DOMAIN}/")
    app.config["CDN_DOMAIN"] = "other.example"
    CDN(app)
    assert (await url(get, app, "e=static&filename=app.css")).startswith("http://other.example/")
    assert (getattr(app, "wsgi_app", None), getattr(app, "asgi_app", None)) == before
