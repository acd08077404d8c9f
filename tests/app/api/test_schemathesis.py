"""Schemathesis, on real sockets: good and bad requests made from the API's description, alone and in sequences."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.extensions import db
from app.models import ApiToken
from decant import Quart

from ...serving import serve
from ..conftest import Make
from .conftest import Caller, Description

HERE = Path(__file__).parent
Seen = Counter[tuple[str, str, int]]


@pytest.fixture
async def app(make: Make) -> Quart:
    """Without limits that so many requests would reach."""
    return await make(RATE_API="100000 per minute", RATE_LINKS="100000 per minute", RATE_IMPORTS="100000 per minute")


@asynccontextmanager
async def served(app: Quart, paths: Description) -> AsyncIterator[tuple[str, Seen]]:
    """The application on a socket, and how often each operation answered which status."""
    seen: Seen = Counter()

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        async def count(message: Any) -> None:
            if message["type"] == "http.response.start":
                known = next((path for path, pattern in patterns if pattern.fullmatch(scope["path"])), "")
                seen[scope["method"], known, message["status"]] += 1
            await send(message)

        await app(scope, receive, count)

    patterns = [(path, re.compile(re.sub(r"{\w+}", "[^/]+", path))) for path in paths.document["paths"]]
    async with serve(counting) as url:
        yield url, seen


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_request_is_answered_otherwise_than_described(
    ada: Caller, app: Quart, description: Description, tmp_path: Path
) -> None:
    """No 5xx; every status, header and body as described; what the schema forbids refused; no use after delete.

    The run is the same each time. Every operation is reached, with success and with a refusal.
    """
    async with app.app_context():  # out of reach: a run that revoked its own token would see only 401
        token = (await db.session.scalars(select(ApiToken))).one()
        token.id = 2**62 + 4711
        await db.session.commit()
    async with served(app, description) as (url, seen):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {ada.secret}"),
            *("--checks", "all", "--max-examples", "10", "--generation-deterministic", "--workers", "1"),
            "--no-color",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 560)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, output.decode()
    assert not [answer for answer in seen if answer[2] >= 500]
    for path, methods in description.document["paths"].items():
        for method in methods:
            statuses = {status for verb, known, status in seen if (verb, known) == (method.upper(), path)}
            assert min(statuses) < 300, f"{method} {path} never succeeded: {statuses}"
            assert max(statuses) >= 400, f"{method} {path} was never refused: {statuses}"
