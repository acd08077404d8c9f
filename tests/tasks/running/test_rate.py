"""Rate limits: Celery's notation, evenly spread starts, nobody starved, no token wasted."""

from __future__ import annotations

from itertools import pairwise

import pytest

from decant.errors import ConfigError
from decant.tasks.options import per_second
from decant.tasks.running.rate import Bucket, Rates


@pytest.mark.parametrize(
    ("limit", "rate"),
    [("10/s", 10), ("90/m", 1.5), ("36/h", 0.01), ("7", 7), (3, 3), (0.5, 0.5), (None, 0), ("", 0), (0, 0), ("0/m", 0)],
)
def test_celerys_notation_is_understood(limit: str | float | None, rate: float) -> None:
    assert per_second(limit) == pytest.approx(rate)


@pytest.mark.parametrize("limit", ["ten/s", "10/d", "-1/s", "10/s/m", True])
def test_what_is_no_rate_is_refused_by_name(limit: str) -> None:
    with pytest.raises(ConfigError, match=r"rate_limit = .*10/s"):
        per_second(limit)


def test_a_bucket_lets_one_start_at_a_time() -> None:
    """No burst after a pause, either."""
    bucket = Bucket(10)
    assert bucket.take("a", 100.0) == 0
    assert bucket.take("b", 100.0) == pytest.approx(0.1)
    assert bucket.take("c", 100.0) == pytest.approx(0.2)
    assert bucket.take("d", 160.0) == 0
    assert bucket.take("e", 160.0) > 0


def test_the_rate_is_kept_and_used_up_when_all_come_back_when_told() -> None:
    bucket, due, started, now = Bucket(10), {f"job{number}": 0.0 for number in range(50)}, [], 0.0
    asked = 0
    while due:
        who = min(due, key=due.__getitem__)
        now = due[who]
        asked += 1
        wait = bucket.take(who, now)
        if wait:
            due[who] = now + wait
        else:
            started.append(now)
            del due[who]
    gaps = [later - earlier for earlier, later in pairwise(started)]
    assert min(gaps) > 0.099
    assert started[-1] == pytest.approx(4.9, abs=0.2)
    assert asked < 150


def test_a_slow_poll_does_not_lower_the_rate() -> None:
    """Asked only twice a second, as stock arq asks, ten of twenty per second start in each half."""
    bucket, waiting, started = Bucket(20), {f"job{number}": 0.0 for number in range(60)}, []
    for half in range(8):
        now = half / 2
        for who in sorted((who for who, due in waiting.items() if due <= now), key=waiting.__getitem__):
            if wait := bucket.take(who, now):
                waiting[who] = now + wait
            else:
                started.append(now)
                del waiting[who]
    assert not waiting
    assert max(map(started.count, started)) <= 11


def test_who_waited_comes_before_who_is_new() -> None:
    bucket = Bucket(1)
    assert bucket.take("first", 0.0) == 0
    assert bucket.take("waits", 0.0) == pytest.approx(1)
    assert bucket.take("new", 1.0) > 0
    assert bucket.take("waits", 1.001) == 0


def test_who_never_comes_back_blocks_nobody() -> None:
    bucket = Bucket(1)
    bucket.take("first", 0.0)
    for number in range(10):
        bucket.take(f"gone{number}", 0.0)
    assert bucket.take("new", 100.0) == 0


def test_a_limit_set_at_run_time_wins_until_it_is_set_again() -> None:
    rates = Rates()
    assert rates.delay("t", None, "a") == rates.delay("t", None, "b") == 0
    rates.set("t", "1/h")
    assert rates.delay("t", None, "c") == 0
    assert rates.delay("t", "1000/s", "d") == pytest.approx(3600, abs=60)
    rates.set("t", None)
    assert rates.delay("t", "1/h", "d") == rates.delay("t", "1/h", "e") == 0
    with pytest.raises(ConfigError, match="often"):
        rates.set("t", "often")
