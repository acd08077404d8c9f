"""Chains, groups and chords, run by a real worker on a real ledger."""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from decant.tasks import (
    AsyncResult,
    ChordError,
    GroupResult,
    InvalidTaskError,
    Signature,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    xmap,
)
from decant.tasks.codec import decode, encode
from tests.tasks.apps import Site


@pytest.fixture
def made(ledger_url: str, redis_url: str) -> Site:
    return Site(ledger_url, redis_url)


@pytest.fixture
async def site(made: Site) -> AsyncIterator[Site]:
    """A site whose worker runs."""
    async with made.working():
        yield made
    await made.aclose()


# -- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parity("celery", "Signature (dict subclass)")
def test_a_signature_is_a_dictionary_with_celerys_keys(made: Site) -> None:
    sig = made.add.s(1, y=2).set(queue="slow")
    assert sig == {
        "task": "add",
        "args": (1,),
        "kwargs": {"y": 2},
        "options": {"queue": "slow"},
        "subtask_type": None,
        "immutable": False,
    }
    assert (sig.task, sig.args, sig.kwargs, sig.options, sig.immutable) == (
        "add",
        (1,),
        {"y": 2},
        {"queue": "slow"},
        False,
    )
    assert repr(sig) == "add(1, y=2)"


def test_a_signature_survives_json_and_msgpack(made: Site) -> None:
    flow = chain(made.add.s(1, 2), group(made.double.s(), made.double.s()), made.total.s())
    for stored in (json.loads(json.dumps(flow)), decode(encode(flow))):
        again = maybe_signature(stored, made.tasks)
        assert isinstance(again, chain)
        assert repr(again) == repr(flow)
        assert isinstance(again.tasks[1], chord)


def test_clone_puts_arguments_before_its_own_unless_it_is_immutable(made: Site) -> None:
    assert made.add.s(2).clone((1,), {"z": 3}, countdown=4) == made.add.signature((1, 2), {"z": 3}, countdown=4)
    assert made.add.si(2).clone((1,)).args == (2,)
    partial = made.add.s(2)
    partial.clone((1,))
    assert partial.args == (2,)


def test_replace_sets_arguments_in_place_of_its_own(made: Site) -> None:
    sig = made.add.s(1, 2, z=3)
    assert sig.replace(args=(5,), kwargs={}).args == (5,)
    assert sig.replace(args=(5,), kwargs={}).kwargs == {}
    assert sig.args == (1, 2)


def test_set_immutable_and_flatten_links(made: Site) -> None:
    sig = made.add.s(1)
    sig.set_immutable(True)
    assert sig.immutable
    last = made.note.s()
    middle = made.double.s()
    middle.link(last)
    sig.link(middle)
    sig.link(middle)
    assert sig.flatten_links() == [sig, middle, last]


def test_signature_takes_a_task_a_name_or_a_dictionary(made: Site) -> None:
    assert signature(made.add, (1, 2)) == made.add.s(1, 2)
    assert signature("add", args=(1, 2), app=made.tasks) == made.add.s(1, 2)
    assert signature(dict(made.add.s(1, 2))) == made.add.s(1, 2)
    assert isinstance(made.tasks.signature("add", (1, 2)), Signature)
    with pytest.raises(TypeError, match="a signature is needed"):
        maybe_signature(5)


def test_the_pipe_makes_chains_and_chords(made: Site) -> None:
    add, double, total = made.add.s(1, 2), made.double.s(), made.total.s()
    assert isinstance(add | double, chain)
    assert [one.task for one in (add | double | double).tasks] == ["add", "double", "double"]
    assert isinstance(group(add, add) | total, chord)
    assert isinstance(chain(add, group(double, double), total).tasks[1], chord)
    assert chain(add) == add
    with pytest.raises(TypeError):
        add | 5


async def test_calling_a_signature_calls_the_function(made: Site) -> None:
    assert await made.add.s(1)(2) == 3
    assert made.double.s(4)() == 8


# -- run by a worker ---------------------------------------------------------------------------------------------------


@pytest.mark.parity("celery", "chain(prepare_steps")
async def test_a_chain_hands_each_result_to_the_next(site: Site) -> None:
    result = await chain(site.add.s(1, 2), site.double.s(), site.add.s(10)).apply_async()
    assert await result.get(timeout=30) == 16
    assert await result.parent.get(timeout=30) == 6
    assert await result.parent.parent.get(timeout=30) == 3
    assert result.parent.parent.parent is None
    assert [child.id for child in await result.parent.children] == [result.id]


async def test_an_immutable_signature_is_called_with_its_own_arguments_only(site: Site) -> None:
    result = await (site.add.s(1, 2) | site.add.si(5, 5)).delay()
    assert await result.get(timeout=30) == 10


async def test_a_failing_step_ends_the_chain_and_is_raised_by_its_result(site: Site) -> None:
    result = await (site.add.s(1, 2) | site.fail.s() | site.note.s()).apply_async()
    with pytest.raises(ValueError, match="as it should"):
        await result.get(timeout=30)
    assert site.called == []
    assert await result.state == "PENDING"


@pytest.mark.parity("celery", "group (skew")
async def test_a_group_runs_side_by_side_and_keeps_its_order(site: Site) -> None:
    result = await group(site.add.s(i, i) for i in range(20))()
    assert isinstance(result, GroupResult)
    assert await result.get(timeout=30) == [2 * i for i in range(20)]
    assert await result.successful()
    assert await result.completed_count() == 20


async def test_a_group_is_called_with_the_result_of_what_comes_before(site: Site) -> None:
    result = await (site.add.s(1, 2) | group(site.double.s(), site.add.s(10))).apply_async()
    assert await result.get(timeout=30) == [6, 13]
    assert await result.parent.get(timeout=30) == 3


@pytest.mark.parity("celery", "chord(header, body)")
async def test_a_chord_is_called_with_all_results_in_order(site: Site) -> None:
    header = [site.add.s(i, i) for i in range(10)]
    result = await chord(header)(site.note.s("last"))
    assert await result.get(timeout=30) == ([2 * i for i in range(10)], "last")
    assert isinstance(result.parent, GroupResult)
    assert await result.parent.get(timeout=30) == [2 * i for i in range(10)]


async def test_a_chord_of_nothing_calls_its_body_with_nothing(site: Site) -> None:
    result = await chord([], site.total.s()).apply_async()
    assert await result.get(timeout=30) == 0


async def test_a_failing_header_fails_the_body_and_calls_its_errback(site: Site) -> None:
    body = site.total.s().on_error(site.note.s("failed"))
    result = await chord([site.add.s(1, 1), site.fail.s()], body).apply_async()
    with pytest.raises(ValueError, match="as it should"):
        await result.get(timeout=30)
    alone = AsyncResult(result.id, app=site.tasks)
    with pytest.raises(ChordError):
        await alone.get(timeout=30)
    async with asyncio.timeout(30):
        while not site.called:
            await asyncio.sleep(0.01)
    assert site.called == [(result.id, "failed")]


async def test_what_follows_a_chord_follows_its_body(site: Site) -> None:
    flow = group(site.add.s(1, 1), site.add.s(2, 2)) | site.total.s() | site.double.s()
    assert await (await flow.apply_async()).get(timeout=30) == 12


async def test_chains_in_a_header_count_with_their_last_task(site: Site) -> None:
    flow = chord([site.add.s(1, 1) | site.double.s() | site.double.s(), site.add.s(3, 4)], site.note.s())
    assert await (await flow.apply_async()).get(timeout=30) == ([8, 7],)


async def test_a_failure_within_a_chain_of_the_header_fails_the_chord(site: Site) -> None:
    result = await chord([site.fail.s() | site.double.s(), site.add.s(3, 4)], site.note.s()).apply_async()
    with pytest.raises(ChordError):
        await AsyncResult(result.id, app=site.tasks).get(timeout=30)


async def test_groups_chords_and_chains_nest(site: Site) -> None:
    inner = chord([site.add.s(1, 1), site.add.s(2, 2)], site.total.s())
    spread = chain(site.add.s(5, 5), group(site.double.s(), site.add.s(1)))
    flow = chord([inner, spread, group(site.double.s(1), site.double.s(2))], site.note.s())
    assert await (await flow.apply_async()).get(timeout=30) == ([6, 20, 11, 2, 4],)


async def test_the_body_of_a_chord_may_be_a_group_or_a_chain(site: Site) -> None:
    flow = chord([site.add.s(1, 1), site.add.s(2, 2)], group(site.total.s(), site.note.s()))
    assert await (await flow.apply_async()).get(timeout=30) == [6, ([2, 4],)]
    flow = chord([site.add.s(1, 1), site.add.s(2, 2)], site.total.s() | site.double.s())
    assert await (await flow.apply_async()).get(timeout=30) == 12


@pytest.mark.parity("celery", "chunks, xmap, xstarmap")
async def test_map_starmap_and_chunks(site: Site) -> None:
    assert await (await site.double.map([1, 2, 3]).apply_async()).get(timeout=30) == [2, 4, 6]
    assert await (await site.add.starmap([(1, 2), (3, 4)]).delay()).get(timeout=30) == [3, 7]
    pieces = site.add.chunks([(i, i) for i in range(5)], 2)
    assert await (await pieces()).get(timeout=30) == [[0, 2], [4, 6], [8]]
    assert isinstance(pieces, chunks)
    assert isinstance(site.double.map([1]), xmap)
    assert await (await (site.double.map([1, 2]) | site.total.s()).delay()).get(timeout=30) == 6


async def test_a_chords_header_is_counted_though_its_tasks_are_not_durable(site: Site) -> None:
    for task in (site.add, site.double, site.note):
        task.durable = False
    flow = chord([site.add.s(1, 1) | site.double.s(), group(site.add.s(2, 2))], site.note.s())
    assert await (await flow.apply_async()).get(timeout=30) == ([4, 4],)


@pytest.fixture
def alone(redis_url: str) -> Site:
    return Site("", redis_url, TASKS_DURABLE=False, TASKS_DATABASE_URL=None)


async def test_without_a_ledger_there_are_chains_and_groups_but_no_chords(alone: Site) -> None:
    async with alone.working():
        assert await (await (alone.add.s(1, 2) | alone.double.s())()).get(timeout=30) == 6
        assert await (await group(alone.add.s(1, 2), alone.add.s(3, 4))()).get(timeout=30) == [3, 7]
        with pytest.raises(InvalidTaskError, match="counts its header's jobs in the ledger"):
            await chord([alone.add.s(1, 1)], alone.total.s()).apply_async()
        result = await (alone.add.s(1, 2) | group(alone.double.s(), alone.double.s()) | alone.total.s()).apply_async()
        with pytest.raises(InvalidTaskError, match="switches off"):
            await result.get(timeout=30)
    await alone.aclose()


async def test_links_are_called_with_the_result_and_errbacks_with_the_id(site: Site) -> None:
    good = await site.add.apply_async((1, 2), link=[site.note.s("good"), site.note.si("own")])
    bad = await site.fail.apply_async((), link_error=site.note.s("bad"), link=site.note.s("never"))
    await good.get(timeout=30)
    with pytest.raises(ValueError, match="as it should"):
        await bad.get(timeout=30)
    async with asyncio.timeout(30):
        while len(site.called) < 3:
            await asyncio.sleep(0.01)
    assert sorted(site.called, key=repr) == sorted([(3, "good"), ("own",), (bad.id, "bad")], key=repr)


async def test_links_of_a_chain_are_those_of_its_last_and_errbacks_those_of_all(site: Site) -> None:
    flow = site.add.s(1, 2) | site.double.s()
    flow.link(site.note.s("end"))
    await (await flow.apply_async()).get(timeout=30)
    broken = site.fail.s() | site.double.s()
    broken.link_error(site.note.s("broken"))
    result = await broken.apply_async()
    with pytest.raises(ValueError, match="as it should"):
        await result.get(timeout=30)
    async with asyncio.timeout(30):
        while len(site.called) < 2:
            await asyncio.sleep(0.01)
    assert (6, "end") in site.called
    assert (result.parent.id, "broken") in site.called


async def test_inverting_a_signature_waits_for_its_result(site: Site) -> None:
    assert await (~site.add.s(1, 2)) == 3


async def test_freeze_settles_the_ids_before_the_jobs_are_asked_for(site: Site) -> None:
    flow = site.add.s(1, 2) | site.double.s()
    result = flow.freeze()
    assert await result.state == "PENDING"
    again = await flow.apply_async()
    assert again.id == result.id
    assert await result.get(timeout=30) == 6


async def test_a_group_is_accepted_as_a_whole_or_not_at_all(site: Site) -> None:
    with pytest.raises(TypeError, match="cannot be handed to a worker"):
        await group(site.note.s(1), site.note.s(object())).apply_async()
    with pytest.raises(TypeError, match="add"):
        await group(site.note.s(1), site.add.s(1, 2, 3)).apply_async()
    assert await site.tasks.runtime().ledger.read_group(uuid4()) == []
    await site.note.delay("after")
    async with asyncio.timeout(30):
        while not site.called:
            await asyncio.sleep(0.01)
    assert site.called == [("after",)]


async def test_skew_spreads_the_beginnings(made: Site) -> None:
    pieces = group(made.note.s(i) for i in range(3)).skew(start=1, stop=2)
    assert [one.options["countdown"] for one in pieces.tasks] == [1, 2, 2]


async def test_a_task_may_be_replaced_by_a_signature(site: Site) -> None:
    @site.tasks.task(name="outer", bind=True)
    async def outer(self: Any, x: int) -> None:
        await self.replace(site.add.s(x, 1) | site.double.s())

    assert await (await outer.delay(4)).get(timeout=30) == 10
    flow = outer.s(1) | site.add.s(100)
    assert await (await flow.apply_async()).get(timeout=30) == 104
    both = chord([outer.s(1), outer.s(2)], site.note.s())
    assert await (await both.apply_async()).get(timeout=30) == ([4, 6],)


async def test_a_task_may_be_replaced_by_a_group(site: Site) -> None:
    @site.tasks.task(name="spread", bind=True)
    async def spread(self: Any, x: int) -> None:
        await self.replace(group(site.add.s(x, 1), site.double.s(x)))

    result = await spread.delay(4)
    assert await result.get(timeout=30) == [5, 8]
    assert await result.state == "SUCCESS"


async def test_a_chord_may_be_an_errback_and_follow_a_job(site: Site) -> None:
    after = chord([site.note.s(1), site.note.s(2)], site.note.si("in the end"))
    await (await site.fail.apply_async((), link_error=after)).get(propagate=False, timeout=30)
    async with asyncio.timeout(30):
        while ("in the end",) not in site.called:
            await asyncio.sleep(0.01)
    assert {len(one) for one in site.called} == {1, 2}  # the header is given the id of the job, as errbacks are
    followed = await site.add.apply_async((1, 2), link=chord([site.double.s(), site.double.s()], site.total.s()))
    await followed.get(timeout=30)


class Colour(enum.Enum):
    RED = 1


async def test_items_of_maps_and_chunks_are_converted_by_the_tasks_annotations(site: Site) -> None:
    @site.tasks.task(name="paint")
    async def paint(colour: Colour, times: int = 1) -> list[str]:
        return [colour.name] * times

    assert await (await paint.map([Colour.RED]).apply_async()).get(timeout=30) == [["RED"]]
    assert await (await paint.starmap([(Colour.RED, 2)]).apply_async()).get(timeout=30) == [["RED", "RED"]]
    assert await (await paint.chunks([(Colour.RED,)] * 3, 2)()).get(timeout=30) == [[["RED"], ["RED"]], [["RED"]]]
