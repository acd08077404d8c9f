"""Files of links by the API: taken in, asked after, cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from decant import Quart
from decant.bridge import bridged

from .conftest import Caller, Callers, refused

CSV = {"Content-Type": "text/csv"}
SITE = "https://example.com/"


async def send(caller: Caller, text: str | bytes, **options: Any) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return await caller.post("/imports", data=data, headers={**CSV, **options.pop("headers", {})}, **options)


async def run(app: Quart, import_id: int) -> None:
    async with app.app_context():
        await bridged(app.extensions["imports"].run(import_id))


async def test_a_file_is_imported(app: Quart, ada: Caller) -> None:
    """202 with where it is; afterwards how many links were made, and which rows were refused."""
    response = await send(ada, f"target,slug\n{SITE},one\nnowhere,two\n{SITE},api\n")
    assert response.status_code == 202
    made = response.json
    assert response.headers["Location"] == f"/api/v1/imports/{made['id']}"
    assert (made["state"], made["total"], made["first_refused"]) == ("waiting", None, [])
    await run(app, made["id"])
    done = (await ada.get(f"/imports/{made['id']}")).json
    assert (done["state"], done["total"], done["made"], done["refused"]) == ("done", 3, 1, 2)
    assert [row["line"] for row in done["first_refused"]] == [3, 4]
    assert "needed by this site" in done["first_refused"][1]["reason"]
    assert (await ada.get("/links/one")).json["target"] == SITE


async def test_one_at_a_time(ada: Caller) -> None:
    """409 while one is under way; once it is cancelled, another may begin."""
    first = (await send(ada, f"target\n{SITE}\n")).json
    response = await send(ada, f"target\n{SITE}\n")
    assert response.status_code == 409
    assert "is under way" in response.json["detail"]
    for _ in range(2):  # the second time it has ended already
        assert (await ada.post(f"/imports/{first['id']}/cancel")).json["state"] == "cancelled"
    assert (await ada.get(f"/imports/{first['id']}")).json["state"] == "cancelled"
    assert (await send(ada, f"target\n{SITE}\n")).status_code == 202


@pytest.mark.parametrize("text", ["", "slug\nx\n", b"target\xff\n", b"target\0"])
async def test_what_cannot_be_an_import(ada: Caller, text: str | bytes) -> None:
    """422 for the body as a whole."""
    assert refused(await send(ada, text)) == ["#"]


async def test_another_type_of_body(ada: Caller) -> None:
    """415: only CSV is taken."""
    assert (await ada.post("/imports", json={"target": SITE})).status_code == 415
    assert (await ada.post("/imports", data=b"x", headers={"Content-Type": "text/plain"})).status_code == 415


async def test_a_body_of_megabytes(ada: Caller) -> None:
    """More than MAX_CONTENT_LENGTH is taken here; more than IMPORT_MAX_MB is 413."""
    megabyte = f"{SITE}\n" * (1024 * 1024 // 21)
    assert (await send(ada, "target\n" + megabyte * 3)).status_code == 202
    assert (await send(ada, "target\n" + megabyte * 27)).status_code == 413


async def test_somebody_elses_import_does_not_exist(app: Quart, ada: Caller, caller: Callers) -> None:
    """404, and it goes on."""
    made = (await send(ada, f"target\n{SITE}\n")).json
    eve = await caller("eve")
    assert (await eve.get(f"/imports/{made['id']}")).status_code == 404
    assert (await eve.post(f"/imports/{made['id']}/cancel")).status_code == 404
    assert (await ada.get(f"/imports/{made['id']}")).json["state"] == "waiting"
