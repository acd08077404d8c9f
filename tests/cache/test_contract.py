"""What holds for every backend, on real servers."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from decant.cache import Cache, MsgpackSerializer

VALUES = [
    *("text", "ü☃", "", b"\x00\xff", 0, 1, -1, 2**70, -(2**63), 1.5, True, False, [], {}, (), set()),
    [1, [2, {"a": None}]],
    {"a": 1, "b": [(1, 2), {3}]},
    {1: "one", (2, 3): "tuple", None: "none"},
    ("body", 404, {"X-A": "1"}),
    frozenset({1, "a"}),
    dt.datetime(2026, 1, 2, 3, 4, 5, 6),
    dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC),
    dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    dt.date(2026, 1, 2),
    dt.time(1, 2, 3),
    dt.timedelta(days=-1, microseconds=7),
    UUID(int=7),
    Decimal("1.10"),
    Markup("<b>&amp;</b>"),
]


@pytest.mark.parity("caching", "get(key), set(key, value, timeout=None), add, delete(key), clear()")
@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_a_value_comes_back_equal_and_of_the_same_type(cache: Cache, value: Any) -> None:
    assert await cache.set("key", value) is True
    found = await cache.get("key")
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, dt.datetime):
        assert (found.tzinfo, found.fold) == (value.tzinfo, value.fold)


class Mine:
    pass


@pytest.mark.parametrize("value", [Mine(), {"deep": [Mine()]}, lambda: 1, object()], ids=["plain", "deep", "f", "obj"])
async def test_what_cannot_be_encoded_is_refused_at_set_by_its_type(cache: Cache, value: Any) -> None:
    """The message names the type, and nothing is stored."""
    kind = "Mine" if not callable(value) and type(value) is not object else type(value).__name__
    with pytest.raises(TypeError, match=rf"type \S*{kind} cannot be cached"):
        await cache.set("key", value)
    with pytest.raises(TypeError, match="cannot be cached"):
        await cache.set_many({"good": 1, "key": value})
    assert await cache.get_many("key", "good") == [None, None]


@pytest.mark.parity("caching", "get(key), set(key, value, timeout=None), add, delete(key), clear()")
@pytest.mark.parity("caching", "RedisSentinelCache")
async def test_set_add_delete(cache: Cache) -> None:
    assert await cache.get("a") is None
    assert await cache.add("a", 1) is True
    assert await cache.add("a", 2) is False
    assert await cache.get("a") == 1
    await cache.set("a", 3)
    assert await cache.get("a") == 3
    assert await cache.delete("a") is True
    assert await cache.delete("a") is False
    assert await cache.get("a") is None


@pytest.mark.parity(
    "caching",
    "has(key), delete_many(*keys)->list, get_many(*keys)->list, set_many(mapping, timeout)->list, get_dict(*keys)",
)
async def test_many(cache: Cache) -> None:
    assert await cache.get_many() == []
    assert await cache.set_many({}) == []
    assert await cache.set_many({"a": 1, "b": None, "c": [3]}, timeout=60) == ["a", "b", "c"]
    assert await cache.get_many("c", "x", "a") == [[3], None, 1]
    assert await cache.get_dict("a", "x") == {"a": 1, "x": None}
    assert [await cache.has(key) for key in "abx"] == [True, True, False], "None is a value"
    assert await cache.delete_many("a", "x") == ["a", "x"], "those that have no value now"
    assert await cache.delete_many() == []
    assert await cache.get_many("a", "c") == [None, [3]]


@pytest.mark.parity("caching", "unlink(*keys)")
async def test_unlink(cache: Cache) -> None:
    await cache.set_many({"a": 1, "b": 2})
    assert await cache.unlink("a", "b") == ["a", "b"]
    assert await cache.get_many("a", "b") == [None, None]
    assert await cache.unlink() == []


@pytest.mark.parity("caching", "get(key), set(key, value, timeout=None), add, delete(key), clear()")
async def test_clear(cache: Cache) -> None:
    await cache.set_many({f"key{number}": number for number in range(50)})
    assert await cache.clear() is True
    assert await cache.get_many("key0", "key49") == [None, None]


@pytest.mark.parity("caching", "backend only: inc(key, delta=1), dec")
async def test_numbers_are_counted_atomically(cache: Cache) -> None:
    """Also those that set() wrote; a missing one is made; 50 at once are 50."""
    assert await cache.cache.inc("n") == 1
    assert await cache.cache.inc("n", 4) == 5
    assert await cache.cache.dec("n", 2) == 3
    assert await cache.get("n") == 3
    await cache.set("m", 10)
    await asyncio.gather(*(cache.cache.inc("m") for _ in range(50)))
    assert await cache.get("m") == 60
    await cache.set("text", "x")
    with pytest.raises(Exception, match=r"(?i)integer|number|int\("):
        await cache.cache.inc("text")


@pytest.mark.parity("caching", "CACHE_DEFAULT_TIMEOUT int/str/timedelta")
async def test_values_end_with_their_time(cache: Cache) -> None:
    """Memcached counts whole seconds; the others take parts of them."""
    short = 1 if type(cache.cache).__name__ == "MemcachedCache" else 0.3
    await cache.set("later", 1, timeout=60)
    assert await cache.get("later") == 1
    await cache.set("short", 1, timeout=short)
    await cache.set("delta", 1, timeout=dt.timedelta(minutes=1))
    await cache.set("ever", 1, timeout=0)
    await cache.set("also", 1, timeout=-1)
    assert await cache.add("added", 1, timeout=short)
    async with asyncio.timeout(30):
        while await cache.has("short") or await cache.has("added"):
            await asyncio.sleep(0.05)
    assert await cache.get_many("short", "delta", "ever", "also") == [None, 1, 1, 1]
    with pytest.raises(ValueError, match="timeout of -5 s"):
        await cache.set("key", 1, timeout=-5)


async def test_touch_only_lengthens_a_life(cache: Cache) -> None:
    """And does not make what is missing."""
    if type(cache.cache).__name__ == "MemcachedCache":
        pytest.skip("Memcached cannot tell how long a value has to live, so its touch sets it")
    await cache.set("a", 1, timeout=2)
    await cache.cache.touch("a", "missing", timeout=60)
    await cache.cache.touch("a", timeout=0.01)
    await asyncio.sleep(2.1)
    assert await cache.get_many("a", "missing") == [1, None]


async def test_a_lock_is_given_back_by_its_owner_only(cache: Cache) -> None:
    backend = cache.cache
    assert await backend.lock("name", "mine", 60)
    assert not await backend.lock("name", "yours", 60)
    await backend.unlock("name", "yours")
    assert await backend.locked("name")
    await backend.extend_lock("name", 60)
    await backend.unlock("name", "mine")
    assert not await backend.locked("name")
    assert await backend.lock("name", "yours", 60)


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "x" * 1000, "ü☃", "../../etc/passwd", "", "*", "a\x00b"])
async def test_any_text_is_a_key(cache: Cache, key: str) -> None:
    await cache.set_many({key: "mine", key + "2": "another"})
    assert await cache.get_many(key, key + "2") == ["mine", "another"]
    assert await cache.delete(key)


async def test_a_caller_who_changes_what_it_got_changes_nobody_elses(cache: Cache) -> None:
    value = {"list": [1]}
    await cache.set("key", value)
    value["list"].append(2)
    (await cache.get("key"))["list"].append(3)
    assert await cache.get("key") == {"list": [1]}


async def test_a_value_of_a_megabyte(cache: Cache) -> None:
    value = "x" * 1_000_000
    await cache.set("key", value)
    assert await cache.get("key") == value


async def test_what_another_wrote_is_a_miss(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that cannot be read are logged, not raised: the view computes."""
    for junk in (b"!\x80\x05N.", b"m\xc1", b"", b"\xff" * 10):
        await cache.cache._set({"key": junk}, 60)
        assert await cache.get("key") is None


json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.decimals(allow_nan=False) | st.datetimes() | st.dates() | st.uuids() | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    | st.tuples(inner, inner) | st.frozensets(st.integers() | st.text()),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(json_like)
def test_the_serializer_gives_back_what_it_got(value: Any) -> None:
    serializer = MsgpackSerializer()
    found = serializer.loads(serializer.dumps(value))
    assert found == value
    assert repr(found) == repr(value) or isinstance(value, frozenset | dict | list | tuple), "of the same types"
