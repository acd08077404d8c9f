"""What is held of a body: first in, first out, wherever it is held; never more than said; nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from decant.flask import spool as module
from decant.flask.spool import Spool


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The temporary files that are made."""
    made: list[Any] = []
    original = module.tempfile.TemporaryFile

    def noted(**options: Any) -> Any:
        made.append(original(dir=tmp_path, **options))
        return made[-1]

    monkeypatch.setattr(module.tempfile, "TemporaryFile", noted)
    return made


@pytest.mark.parametrize("seed", range(10))
async def test_what_goes_in_comes_out_in_order(seed: int, files: list[Any]) -> None:
    chance, spool = random.Random(seed), Spool(memory=1000, disk=1_000_000)
    given, taken = bytearray(), bytearray()
    for _ in range(200):
        match chance.randrange(4):
            case 0 | 1:
                piece = chance.randbytes(chance.randrange(1, 900))
                await spool.put(piece)
                given += piece
            case 2:
                taken += spool.take(chance.randrange(1, 700))
            case 3:
                await spool.fetch()
        assert taken == given[: len(taken)]
        assert spool.held + spool.filed == len(given) - len(taken)
    while not spool.empty:
        await spool.fetch()
        while piece := spool.take(100_000):
            taken += piece
    assert taken == given
    assert len(files) == 1, "or the test was none"
    await spool.close()
    assert files[0].closed


async def test_it_holds_in_memory_what_it_may_and_the_rest_on_disk(files: list[Any]) -> None:
    spool = Spool(memory=100, disk=200)
    for _ in range(3):
        assert not spool.full
        await spool.put(bytes(99))
    assert (spool.held, spool.filed, spool.full) == (198, 99, False)
    await spool.put(bytes(10))
    await spool.fetch()  # nothing, while there is some in memory
    assert (spool.held, spool.filed, spool.full) == (198, 109, True)
    assert files[0].seek(0, os.SEEK_END) == 109
    assert (len(spool.take(198)), len(spool.take(198)), spool.take(198)) == (99, 99, b"")
    await spool.fetch()
    assert (spool.held, spool.filed, spool.full) == (109, 0, False)
    assert files[0].seek(0, os.SEEK_END) == 0, "what is read is given back"
    await spool.close()


async def test_nothing_is_kept_once_it_is_closed(files: list[Any]) -> None:
    spool = Spool(memory=10, disk=1000)
    await spool.put(bytes(10))
    await spool.put(bytes(10))
    await spool.close()
    await spool.put(bytes(10))
    await spool.fetch()
    assert (spool.empty, spool.take(5), len(files)) == (True, b"", 1)


async def test_what_is_written_while_it_is_closed_is_removed(files: list[Any]) -> None:
    spool = Spool(memory=10, disk=1_000_000)
    await spool.put(bytes(10))
    writing = [asyncio.create_task(spool.put(bytes(100_000))) for _ in range(2)]
    await asyncio.sleep(0)
    await spool.close()
    await asyncio.gather(*writing)
    assert [file.closed for file in files] == [True]
