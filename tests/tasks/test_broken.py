"""Jobs that end without a worker to see to it: their errbacks are called, and what waits for them learns it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from decant.tasks import ChordError, TaskRevokedError, WorkerLostError, chain, chord
from tests.tasks.apps import Site


@pytest.fixture
def made(ledger_url: str, redis_url: str) -> Site:
    return Site(ledger_url, redis_url)


@pytest.fixture
async def site(made: Site) -> AsyncIterator[Site]:
    async with made.app.app_context():
        yield made
    await made.aclose()


async def die(site: Site, id_: str) -> None:
    """A worker begins the job for the last time and is never heard of again."""
    ledger = site.tasks.runtime(site.app).ledger
    assert ledger is not None
    async with ledger.connection() as connection:
        await connection.execute(
            "UPDATE decant_jobs SET state = 'STARTED', attempt = 3, deaths = 2, worker = 'gone',"
            " lease_until = now() - interval '1 s' WHERE id = $1",
            UUID(id_),
        )


async def test_the_errback_of_a_job_that_was_lost_is_called(site: Site) -> None:
    result = await site.add.apply_async((1, 2), link_error=site.note.s("errback"))
    await die(site, result.id)
    async with site.working():
        with pytest.raises(WorkerLostError):
            await result.get(timeout=20)
        (errback,) = await result.children
        await errback.get(timeout=20, follow_parents=False)
    assert site.called == [(result.id, "errback")]


async def test_a_chord_fails_with_a_chain_of_its_header_that_was_lost_on_the_way(site: Site) -> None:
    body = await chord([chain(site.add.s(1, 2), site.double.s()), site.add.si(3, 4)], site.total.s()).apply_async()
    (first,) = [one for one in await _waiting(site) if one != str(body.id) and await _is_first(site, one)]
    await die(site, first)
    async with site.working():
        with pytest.raises(ChordError):
            await site.tasks.AsyncResult(body.id).get(timeout=20)


async def test_a_chord_fails_with_a_chain_of_its_header_that_was_revoked(site: Site) -> None:
    body = await chord([chain(site.add.s(1, 2), site.double.s())], site.total.s()).apply_async()
    (first,) = await _waiting(site)
    await site.tasks.AsyncResult(first).revoke()
    with pytest.raises(TaskRevokedError):
        await site.tasks.AsyncResult(first).get(timeout=20)
    async with site.working():
        with pytest.raises(ChordError):
            await site.tasks.AsyncResult(body.id).get(timeout=20)


async def _waiting(site: Site) -> list[str]:
    ledger = site.tasks.runtime(site.app).ledger
    assert ledger is not None
    async with ledger.connection() as connection:
        return [str(row["id"]) for row in await connection.fetch("SELECT id FROM decant_jobs WHERE state = 'PENDING'")]


async def _is_first(site: Site, id_: str) -> bool:
    record = await site.tasks.runtime(site.app).record(UUID(id_))
    assert record is not None
    return record.summary.startswith("1, 2") or "(1, 2" in record.summary
