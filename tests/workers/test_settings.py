"""What arq is told: how jobs are written down, and how they run."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from arq.jobs import deserialize_job_raw, deserialize_result, serialize_job, serialize_result

from decant.bridge import wait
from decant.context import current_app
from workers.running import in_app
from workers.serializer import decode, encode


def test_a_job_travels_as_msgpack() -> None:
    """Its name, arguments and times come back; nothing of it is a pickle."""
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    identity = uuid.uuid4()
    data = serialize_job("send", (1, "é", b"\x00", [1.5, None]), {"when": moment}, 2, 1000, serializer=encode)
    function, args, kwargs, tries, enqueued = deserialize_job_raw(data, deserializer=decode)
    assert (function, list(args), tries, enqueued) == ("send", [1, "é", b"\x00", [1.5, None]], 2, 1000)
    assert kwargs == {"when": moment}
    assert b"pickle" not in data
    carried = decode(encode({"id": identity, "price": Decimal("1.10"), "day": date(2026, 1, 2), "set": {1}}))
    assert carried == {"id": str(identity), "price": "1.10", "day": "2026-01-02", "set": [1]}


def test_a_failure_travels_as_text() -> None:
    """With its type, message and traceback; reading it makes no object of that type."""
    try:
        raise LookupError("no such link")
    except LookupError as raised:
        error = raised
    data = serialize_result("f", (), {}, 1, 0, False, error, 0, 0, "ref", "queue", "id", serializer=encode)
    assert data is not None
    result = deserialize_result(data, deserializer=decode)
    assert result.result["type"] == "LookupError"
    assert result.result["message"] == "no such link"
    assert "test_settings.py" in result.result["traceback"]


def test_what_cannot_travel() -> None:
    """An argument that msgpack does not know is refused when the job is enqueued, with the type's name."""
    with pytest.raises(NotImplementedError, match="object"):
        encode({"a": [object()]})


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x80\x04\x95", b"\x92\x01"])
def test_what_is_no_job(data: bytes) -> None:
    """Bytes that somebody else put there raise, and run nothing."""
    with pytest.raises(Exception, match=r".") as caught:
        decode(data)
    assert type(caught.value).__module__ == "msgspec"


async def test_a_job_runs_as_a_view_does(app: object) -> None:
    """In the application's context, and bridged: synchronous code in it may wait."""

    async def answer() -> int:
        return 42

    async def job(ctx: dict[object, object], more: int, *, and_more: int) -> tuple[object, int]:
        return current_app(), wait(answer()) + more + and_more

    assert await in_app(job)({"app": app}, 1, and_more=2) == (app, 45)
    assert in_app(job).__qualname__ == job.__qualname__, "arq knows a job by it"


def test_the_workers_settings_are_made_when_asked_for() -> None:
    """Importing the package for its jobs makes no application; other names do not exist."""
    import workers

    with pytest.raises(AttributeError, match="Nonsense"):
        workers.Nonsense  # noqa: B018
