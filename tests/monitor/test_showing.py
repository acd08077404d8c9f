"""What a job was given and returned is shown as far as a page has room for it, and at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from decant.monitor.api_tasks import _plain
from decant.monitor.showing import masked, told
from decant.tasks import codec


def nested(depth: int, value: Any) -> Any:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [None, 5, "ü", b"\0", [], {}, (), set(), [[], {}], {"a": [1, (2, {3})]}, Decimal("1.5"), UUID(int=1),
     datetime(2026, 1, 1, tzinfo=UTC), nested(20, {"a": 1}), list(range(1000)), "x" * 19_000],
)  # fmt: skip
def test_what_is_small_is_shown_whole(value: Any) -> None:
    scope = {"UUID": UUID, "Decimal": Decimal, "datetime": datetime}
    text = told(codec.encode(value))
    if isinstance(value, datetime):
        assert text.startswith("datetime.datetime(2026, 1, 1, 0, 0")
    else:
        assert eval(text, scope) == value


@pytest.mark.parametrize(
    "value",
    [list(range(50_000)), {str(n): {"a": [n] * 5} for n in range(10_000)}, nested(300, "x" * 200_000),
     nested(100, ["x" * 500] * 400), "x" * 250_000, {"x" * 250_000: 1}, [b"\0" * 250_000], nested(250, 1)],
)  # fmt: skip
def test_what_is_large_or_deep_is_cut_and_keeps_nobody_waiting(value: Any) -> None:
    data = codec.encode(value)
    begun = time.process_time()
    masked(codec.decode(data))
    text = told(data)
    assert time.process_time() - begun < 10
    assert len(text) < 50_000
    assert text.endswith(f"… This is not all: it takes {len(data):,} bytes.")


def test_what_cannot_be_read_says_so() -> None:
    assert told(b"\xc1").startswith("It cannot be read: ")
    assert told(None) == ""


def test_secrets_are_not_shown_however_deep_they_are() -> None:
    value = nested(20, {"password": "hunter2", "name": "ada"})
    assert masked(value) == nested(20, {"password": "…", "name": "ada"})
    assert "hunter2" not in str(masked(nested(60, {"password": "hunter2"})))
    assert masked(({"api_token": "a"}, [{"secret": "b"}])) == ({"api_token": "…"}, [{"secret": "…"}])


def test_what_json_does_not_have_is_text_in_it() -> None:
    """Also numbers that are none: browsers and most programs do not read them."""
    value = {"when": datetime(2026, 1, 1, tzinfo=UTC), "numbers": [float("nan"), float("-inf"), 1.5], (1, 2): 3}
    assert _plain(value) == {"when": "2026-01-01 00:00:00+00:00", "numbers": ["NaN", "-Infinity", 1.5]}
