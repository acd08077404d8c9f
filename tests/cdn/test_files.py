"""Static files as they are sent: how long to keep them, compressed, in part, not at all."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import flask
import pytest
import quart

from decant import Quart
from decant.cdn import CDN, files, url_for
from tests.serving import Peer, serve

from .conftest import CSS

TAG = hashlib.sha256(CSS).hexdigest()[:12]
FOREVER = "public, max-age=31536000, immutable"
Get = Callable[..., Any]


@pytest.fixture
def app(make: Any) -> Any:
    return make()


async def test_only_an_address_with_the_fingerprint_may_be_kept_for_ever(app: Any, get: Get) -> None:
    """An old fingerprint, or none, is answered with what the framework says: a deploy must not be kept under it."""
    default = None if not isinstance(app, quart.Quart) or isinstance(app, Quart) else 12 * 60 * 60  # Quart's
    short = "no-cache" if default is None else f"public, max-age={default}"
    for query, expected in ((f"?t={TAG}", FOREVER), ("", short), ("?t=0123456789ab", short)):
        status, headers, body = await get(app, f"/static/app.css{query}")
        assert (status, headers["Cache-Control"], body) == (200, expected, CSS)
        assert headers["Content-Type"] == "text/css; charset=utf-8"
        assert headers["ETag"] == f'"{TAG}"'


async def test_a_configured_age_holds_for_other_addresses(make: Any, get: Get) -> None:
    _, headers, _ = await get(make(SEND_FILE_MAX_AGE_DEFAULT=300), "/static/app.css")
    assert headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.9", "gzip"),
        ("br;q=0, *", "gzip"),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("zstd", None),
        ("", None),
    ],
)
async def test_compressed_bodies_are_sent_to_who_takes_them(
    app: Any, get: Get, accepted: str, encoding: str | None
) -> None:
    """Each has an ``ETag`` of its own, and caches are told what it depends on."""
    status, headers, body = await get(app, f"/static/app.css?t={TAG}", Accept_Encoding=accepted)
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding]
    assert (status, headers.get("Content-Encoding"), unpack(body)) == (200, encoding, CSS)
    assert headers["ETag"] == (f'"{TAG}-{encoding}"' if encoding else f'"{TAG}"')
    assert "Accept-Encoding" in headers["Vary"]
    assert int(headers["Content-Length"]) == len(body)
    assert encoding is None or len(body) < len(CSS) / 10


async def test_what_gains_nothing_is_not_compressed(app: Any, get: Get) -> None:
    for path in ("/static/tiny.css", "/static/sub/photo.png"):
        _, headers, _ = await get(app, path, Accept_Encoding="gzip, br")
        assert "Content-Encoding" not in headers
        assert "Accept-Encoding" not in headers.get("Vary", "")


@pytest.mark.parametrize("encoding", ["br", "gzip", "identity"])
async def test_a_copy_that_is_still_good_is_not_sent_again(app: Any, get: Get, encoding: str) -> None:
    path = f"/static/app.css?t={TAG}"
    _, first, _ = await get(app, path, Accept_Encoding=encoding)
    status, headers, body = await get(app, path, Accept_Encoding=encoding, If_None_Match=first["ETag"])
    assert (status, body, headers["ETag"], headers["Cache-Control"]) == (304, b"", first["ETag"], FOREVER)
    status, _, _ = await get(app, path, Accept_Encoding=encoding, If_None_Match='"other"')
    assert status == 200
    status, _, _ = await get(app, path, If_Modified_Since="Tue, 14 Nov 2023 22:13:20 GMT")
    assert status == 304


async def test_parts_are_of_the_file_itself(app: Any, get: Get) -> None:
    """Also for a client that takes compressed bodies; ``If-Range`` with a compressed one's tag gets all of it."""
    path = "/static/app.css"
    status, headers, body = await get(app, path, Range="bytes=10-19", Accept_Encoding="br")
    assert (status, body, headers["Content-Range"]) == (206, CSS[10:20], f"bytes 10-19/{len(CSS)}")
    assert "Content-Encoding" not in headers
    status, _, body = await get(app, path, Range="bytes=10-", If_Range=f'"{TAG}"')
    assert (status, body) == (206, CSS[10:])
    status, _, body = await get(app, path, Range="bytes=10-", If_Range=f'"{TAG}-br"', Accept_Encoding="br")
    assert (status, body) == (200, CSS)
    for asked, found in ((f"bytes={len(CSS)}-", 416), ("bytes=9-1", 416), ("bytes=a-b", 416), ("bytes=0-1,4-5", 416)):
        status, _, _ = await get(app, path, Range=asked)
        assert status == found, asked
    status, headers, body = await get(app, path, Range="bytes=-7")
    assert (status, body, headers["Content-Range"]) == (
        206,
        CSS[-7:],
        f"bytes {len(CSS) - 7}-{len(CSS) - 1}/{len(CSS)}",
    )


async def test_heads_have_no_body(app: Any, get: Get) -> None:
    status, headers, _ = await get(app, f"/static/app.css?t={TAG}", method="HEAD", Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"], headers["Cache-Control"]) == (200, "gzip", FOREVER)


async def test_a_blueprints_files_are_served_alike(app: Any, get: Get) -> None:
    tag = hashlib.sha256(CSS[:4100]).hexdigest()[:12]
    _, headers, body = await get(app, f"/pages/assets/app.css?t={tag}", Accept_Encoding="br")
    assert (headers["Cache-Control"], brotli.decompress(body)) == (FOREVER, CSS[:4100])


@pytest.mark.parametrize("path", ["/static/none.css", "/static/../conftest.py", "/static/%2e%2e/x", "/static/"])
async def test_what_is_not_there_is_404(app: Any, get: Get, path: str) -> None:
    status, headers, _ = await get(app, path)
    assert status == 404
    assert "immutable" not in headers.get("Cache-Control", "")


async def test_large_files_stay_on_disk_and_have_fingerprints(make: Any, folders: Path, get: Get) -> None:
    """They are sent by the framework's own view, whole or in part; so is everything where memory is short."""
    content = await asyncio.to_thread((folders / "static/large.bin").read_bytes)
    tag = hashlib.sha256(content).hexdigest()[:12]
    app = make()
    status, headers, body = await get(app, f"/static/large.bin?t={tag}")
    assert (status, headers["Cache-Control"], len(body)) == (200, FOREVER, len(content))
    for part in ("0-9", "-10") if type(app) is not quart.Quart else ("0-9",):  # Quart's own view fails at the other
        status, headers, body = await get(app, f"/static/large.bin?t={tag}", Range=f"bytes={part}")
        assert (status, headers["Cache-Control"], len(body)) == (206, FOREVER, 10)
    _, headers, body = await get(make(CDN_MEMORY=0), f"/static/app.css?t={TAG}", Accept_Encoding="br")
    assert (headers["Cache-Control"], headers.get("Content-Encoding"), body) == (FOREVER, None, CSS)


async def test_a_large_file_that_has_changed_is_not_kept_under_its_old_fingerprint(
    make: Any, folders: Path, get: Get
) -> None:
    """It comes from disk, so as it is now."""
    path = folders / "static/large.bin"
    tag = hashlib.sha256(await asyncio.to_thread(path.read_bytes)).hexdigest()[:12]
    app = make()
    _, headers, _ = await get(app, f"/static/large.bin?t={tag}")
    assert headers["Cache-Control"] == FOREVER
    await asyncio.to_thread(path.write_bytes, bytes(3 * 1024 * 1024 + 1))
    status, headers, _ = await get(app, f"/static/large.bin?t={tag}")
    assert (status, "immutable" in headers["Cache-Control"]) == (200, False)


async def test_files_that_others_compressed_are_taken_unless_they_are_older(make: Any, folders: Path, get: Get) -> None:
    packed = brotli.compress(CSS + b"/* by the build */")
    await asyncio.to_thread((folders / "static/app.css.br").write_bytes, packed)
    await asyncio.to_thread((folders / "static/app.css.gz").write_bytes, gzip.compress(b"outdated"))
    os.utime(folders / "static/app.css.gz", (1_600_000_000, 1_600_000_000))
    app = make(CDN_COMPRESS=False)
    _, _, body = await get(app, "/static/app.css", Accept_Encoding="br")
    assert brotli.decompress(body).endswith(b"/* by the build */")
    _, headers, body = await get(app, "/static/app.css", Accept_Encoding="gzip")
    assert (headers.get("Content-Encoding"), body) == (None, CSS)


async def test_a_file_that_cannot_be_read_does_not_prevent_the_start(
    make: Any, folders: Path, get: Get, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is deleted while the folder is read, or is not ours to read: the others are served, and the log says it."""
    read = files._read

    def sometimes(path: str, *options: Any) -> Any:
        if path.endswith("tiny.css"):
            raise PermissionError(13, "Permission denied", path)
        return read(path, *options)

    monkeypatch.setattr(files, "_read", sometimes)
    app = make()
    _, headers, _ = await get(app, f"/static/app.css?t={TAG}")
    assert headers["Cache-Control"] == FOREVER
    status, headers, body = await get(app, "/static/tiny.css")
    assert (status, body, "immutable" in headers["Cache-Control"]) == (200, b"a{}", False)
    assert "tiny.css" in caplog.text


async def test_without_brotli_gzip_is_sent(make: Any, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "brotli", None)
    _, headers, _ = await get(make(), "/static/app.css", Accept_Encoding="br, gzip")
    assert headers["Content-Encoding"] == "gzip"


async def test_in_debug_mode_a_change_is_seen_at_once(make: Any, folders: Path, get: Get) -> None:
    app = make(debug=True)
    await get(app, "/static/tiny.css")
    await asyncio.to_thread((folders / "static/tiny.css").write_bytes, b"b{}")
    _, headers, body = await get(app, "/static/tiny.css")
    assert (body, "immutable" in headers["Cache-Control"]) == (b"b{}", False)


async def test_a_guard_of_the_application_holds_for_files_too(app: Any, get: Get) -> None:
    """Our view takes the place of the framework's, so hooks that were made later run before it."""
    app.before_request_funcs[None].append(lambda: ("for members", 401))
    status, _, body = await get(app, "/static/app.css")
    assert (status, body) == (401, b"for members")


async def test_what_everybody_may_keep_carries_nobodys_cookie(app: Any, get: Get) -> None:
    """A permanent session is sent again with each response: not with one that a CDN gives to others."""
    app.secret_key = "for tests"
    session = quart.session if isinstance(app, quart.Quart) else flask.session

    def sign_in() -> None:
        session["user"] = "ada"
        session.permanent = True

    app.before_request_funcs[None].append(sign_in)
    _, headers, _ = await get(app, f"/static/app.css?t={TAG}", Accept_Encoding="br")
    assert headers.getlist("Set-Cookie") == []
    assert headers["Vary"] == "Accept-Encoding"
    _, headers, _ = await get(app, "/static/app.css")
    assert headers["Set-Cookie"].startswith("session=")


async def test_files_are_read_once_and_off_the_loop(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a socket: after the start neither the folder nor a file in memory is touched again."""
    reads: list[str] = []
    read = files.read_folder

    def noted(folder: str, **options: Any) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        reads.append(os.path.basename(folder))
        return read(folder, **options)

    monkeypatch.setattr("decant.cdn.index.read_folder", noted)
    app = Quart(__name__, root_path=str(folders), instance_path=str(folders))
    CDN(app)
    async with serve(app) as url:
        host, _, port = url.removeprefix("http://").rpartition(":")
        for _ in range(2):
            async with Peer.connect((host, int(port))) as peer:
                await peer.get(f"/static/app.css?t={TAG}", "Connection: close", "Accept-Encoding: gzip")
                assert await peer.status() == 200
                head, _, body = (await peer.rest()).partition(b"\r\n\r\n")
            assert gzip.decompress(body) == CSS
            assert b"immutable" in head
            await asyncio.to_thread((folders / "static/app.css").unlink, missing_ok=True)
    assert reads == ["static"]


async def test_files_are_read_when_the_application_starts(folders: Path) -> None:
    """So that the first request does not wait for it, and a page's addresses are known at once."""
    app = Quart(__name__, root_path=str(folders), instance_path=str(folders))
    app.config["SERVER_NAME"] = "localhost"
    CDN(app)
    await app.startup()
    try:
        await asyncio.to_thread((folders / "static/app.css").unlink)
        async with app.app_context():
            assert url_for("static", filename="app.css").endswith(f"?t={TAG}")
    finally:
        await app.shutdown()
