"""QR codes of links: what is drawn, where, and how often."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest
import segno

from app.extensions import cpu
from decant import Quart
from decant.errors import Overloaded

from .conftest import Person, text_of

MODULE_PX, BORDER = 8, 4


def pixels_of(png: bytes) -> list[list[int]]:
    """A PNG of one bit per pixel, each row as it is (filter 0) or relative to the one above (2): 1 is light."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth = struct.unpack(">IIB", png[16:25])
    assert depth == 1
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    raw, stride = zlib.decompress(data), 1 + (width + 7) // 8
    rows, above = [], bytes(stride - 1)
    for start in range(0, len(raw), stride):
        kind, row = raw[start], raw[start + 1 : start + stride]
        assert kind in (0, 2)
        above = bytes((a + b) % 256 for a, b in zip(row, above, strict=True)) if kind else row
        rows.append(above)
    assert len(rows) == height
    return [[row[x // 8] >> (7 - x % 8) & 1 for x in range(width)] for row in rows]


def modules_of(pixels: list[list[int]]) -> list[list[int]]:
    """The squares inside the border: 1 is dark, as in segno's matrix."""
    light = pixels[0][0]
    centres = range(BORDER * MODULE_PX + MODULE_PX // 2, len(pixels) - BORDER * MODULE_PX, MODULE_PX)
    return [[int(pixels[y][x] != light) for x in centres] for y in centres]


async def test_a_png_is_the_code_of_the_short_address(ada: Person) -> None:
    """Square by square what the standard says for that text, with its quiet border."""
    await ada.link(slug="mine")
    response = await ada.get("/links/mine/qr.png")
    assert response.status_code == 200
    assert response.content_type == "image/png"
    assert response.headers["Content-Disposition"] == 'inline; filename="mine.png"'
    pixels = pixels_of(await response.get_data())
    code = segno.make_qr("http://localhost/mine", error="q", boost_error=False)
    assert modules_of(pixels) == [list(row) for row in code.matrix]
    assert {bit for row in pixels[: BORDER * MODULE_PX] for bit in row} == {pixels[0][0]}


async def test_an_svg_is_an_image_of_the_same_size(ada: Person) -> None:
    """Well-formed, without scripts, and with a white ground, so that it can be read in dark mode."""
    await ada.link(slug="mine")
    response = await ada.get("/links/mine/qr.svg")
    assert response.status_code == 200
    assert response.mimetype == "image/svg+xml"
    text = await response.get_data(as_text=True)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {"svg", "g", "path"}
    assert "#fff" in text
    png = pixels_of(await (await ada.get("/links/mine/qr.png")).get_data())
    assert (root.get("width"), root.get("height")) == (str(len(png)), str(len(png)))


async def test_the_page_of_the_link_offers_both(ada: Person) -> None:
    """The image with a text that says where it leads, and two downloads."""
    await ada.link(slug="mine")
    page = await text_of(await ada.get("/links/mine"))
    assert '<img src="/links/mine/qr.svg" alt="QR code that leads to http://localhost/mine"' in page
    assert '<a href="/links/mine/qr.png" download>' in page


async def test_who_has_it_already_gets_304(ada: Person) -> None:
    """By its ETag; another link's code has another."""
    await ada.link(slug="mine")
    await ada.link(slug="other")
    first = await ada.get("/links/mine/qr.svg")
    assert first.headers["Cache-Control"] == "private, no-cache"
    etag = first.headers["ETag"]
    again = await ada.client.get("/links/mine/qr.svg", headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert await again.get_data() == b""
    other = await ada.client.get("/links/other/qr.svg", headers={"If-None-Match": etag})
    assert other.status_code == 200
    assert other.headers["ETag"] != etag


async def test_it_is_the_owners_alone(app: Quart, ada: Person, person: Any) -> None:
    """404 for somebody else and for kinds that there are not, the log-in page for nobody."""
    await ada.link(slug="mine")
    eve = person()
    await eve.register("eve")
    assert (await eve.get("/links/mine/qr.svg")).status_code == 404
    assert (await ada.get("/links/mine/qr.gif")).status_code == 404
    assert (await ada.get("/links/none/qr.svg")).status_code == 404
    response = await app.test_client().get("/links/mine/qr.svg")
    assert response.status_code == 303
    assert response.location.startswith("/login")


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_it_is_drawn_in_a_process_once(app: Quart, ada: Person) -> None:
    """Of twenty requests at once one draws, in another process; later ones are answered while drawing is impossible."""
    await ada.link(slug="mine")
    before = await asyncio.to_thread(children)
    answers = await asyncio.gather(*(ada.client.get("/links/mine/qr.svg") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert await asyncio.to_thread(children) - before
    async with app.app_context():
        await cpu.drain()
    again = await ada.get("/links/mine/qr.svg")
    assert await again.get_data() == await answers[0].get_data()


async def test_too_much_to_draw_is_503(app: Quart, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Retry-After, and nothing of it is cached."""
    await ada.link(slug="mine")

    def full(*args: Any) -> Any:
        raise Overloaded("the queue is full")

    with monkeypatch.context() as patched:
        patched.setattr(cpu, "submit", full)
        response = await ada.get("/links/mine/qr.svg")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert (await ada.get("/links/mine/qr.svg")).status_code == 200
