"""Work in the background: asked for, and asked after. Somebody else's jobs are 404."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import UNSET
from quart import Blueprint, abort, url_for
from quart.typing import ResponseReturnValue

from decant.tasks.codec import decode_envelope
from workers.jobs.sums import add

from ..accounts.current import require_user
from ..extensions import tasks
from .operations import operation
from .schemas import JobAccepted, JobError, JobView, NewSum

__all__ = ["jobs"]

jobs = Blueprint("jobs", __name__)
_OWNER = "owner"
"""Whose job it is, in the headers that it travels with: they are kept in the ledger, and no worker needs them."""


@jobs.post("/add")
@operation(
    "add",
    group="jobs",
    body=NewSum,
    answers=JobAccepted,
    status=202,
    headers={"Location": "Where the job is in this API."},
    leads_to={"read_job": {"identity": "$response.body#/id"}},
)
async def start_sum(body: NewSum) -> ResponseReturnValue:
    """Add two numbers, in the background

    The smallest job there is. Its result is where ``url`` leads, as soon as a worker has run it.
    """
    user = await require_user()
    result = await add.apply_async((body.x, body.y), headers={_OWNER: user.id})
    url = url_for(".read_job", identity=result.id)
    return JobAccepted(id=str(result.id), url=url), 202, {"Location": url}  # type: ignore[return-value]


@jobs.get("/jobs/<uuid:identity>")
@operation("read_job", group="jobs", answers=JobView, problems=(404,))
async def read_job(identity: UUID) -> ResponseReturnValue:
    """The state of one of your jobs, and its result

    They are kept for a day.
    """
    user = await require_user()
    record = await tasks.runtime().record(identity)
    # One that is not in the ledger has no payload: nobody has asked for it here.
    if record is None or not record.payload or decode_envelope(record.payload).headers.get(_OWNER) != user.id:
        abort(404, "You have no job of this number.")
    return await _view(str(identity))  # type: ignore[return-value]


async def _view(identity: str) -> JobView:
    found = tasks.AsyncResult(identity)
    state: str = await found.state
    result: Any = await found.result if state in ("SUCCESS", "FAILURE", "REVOKED") else None
    if isinstance(result, BaseException):
        return JobView(identity, state, error=JobError(type(result).__name__, str(result)))
    return JobView(identity, state, result=result if state == "SUCCESS" else UNSET)
