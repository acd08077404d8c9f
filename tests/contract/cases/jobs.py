"""Work in the background: two numbers, added by a worker."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from . import World, case


def _ended(said: Any) -> bool:
    return said["state"] in ("SUCCESS", "FAILURE")


@case("two numbers are added", quick=True)
async def add(world: World) -> None:
    program = await world.program()
    answer = await program.api("POST", "/add", {"x": 2, "y": 3})
    assert answer.status == 202, answer.text
    assert answer.json.keys() >= {"id", "url"}
    assert answer.leads_to == answer.json["url"]
    said = await program.until(answer.json["url"], _ended)
    assert said == {"id": answer.json["id"], "state": "SUCCESS", "result": 5}


@case("twenty sums at once, decimals too")
async def many(world: World) -> None:
    program = await world.program()
    answers = await asyncio.gather(*(program.api("POST", "/add", {"x": number, "y": 0.5}) for number in range(20)))
    results = [await program.until(answer.json["url"], _ended) for answer in answers]
    assert [said["result"] for said in results] == [number + 0.5 for number in range(20)]


@case("what is no number is refused")
async def refused(world: World) -> None:
    program = await world.program()
    for wrong in ({"x": "2"}, {"x": None}, {"x": True}, {"x": []}, {}):
        (await program.api("POST", "/add", {"y": 3, **wrong})).problem(422, "#/x")
    (await program.api("POST", "/add", {})).problem(422, "#/x", "#/y")


@case("another's job is 404")
async def anothers(world: World) -> None:
    program, eve = await world.program(), await world.program()
    url = (await program.api("POST", "/add", {"x": 2, "y": 3})).json["url"]
    (await eve.api("GET", url)).problem(404)
    (await world.visitor().api("GET", url)).problem(401)
    for path in (f"/jobs/{uuid.uuid4()}", "/jobs/1", "/jobs/x%00y"):
        (await program.api("GET", path)).problem(404)
    await program.until(url, _ended)
