"""``memoize`` and ``delete_memoized``: functions, methods, class methods."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from blockbuster import BlockBuster

from decant import Quart
from decant.cache import Cache

from .conftest import Counter

Pair = tuple[Quart, Cache]


@pytest.fixture
async def count() -> list[Any]:
    return []


@pytest.mark.parity("caching", "memoize: timeout/unless/args_to_ignore/response_filter")
async def test_however_arguments_are_given_they_are_the_same_call(cache: Cache, count: list[Any]) -> None:
    @cache.memoize(timeout=60)
    async def f(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> tuple[Any, ...]:
        count.append((a, b, rest, c, more))
        return a, b, rest, c, more

    assert await f(1) == await f(a=1) == await f(1, 2) == await f(b=2, a=1) == (1, 2, (), 3, {})
    assert len(count) == 1
    assert await f(1, 2, 3) == await f(1, 2, 3)
    assert await f(1, c=4) != await f(1, d=4)
    assert len(count) == 4


async def test_arguments_that_are_given_by_position_only_are_told_apart(cache: Cache, count: list[Any]) -> None:
    """Also where others are given by name, and by their defaults; Flask-Caching then leaves them out of the key."""

    @cache.memoize()
    async def f(a: int = 1, /, b: int = 2) -> tuple[int, int]:
        count.append((a, b))
        return a, b

    assert [await f(1, b=5), await f(2, b=5), await f(2, 5), await f(b=5)] == [(1, 5), (2, 5), (2, 5), (1, 5)]
    assert await f() == await f(1) == await f(1, b=2) == (1, 2)
    assert len(count) == 3

    @cache.memoize(args_to_ignore=["noise"])
    async def g(noise: int, /, b: int) -> int:
        return noise

    assert [await g(1, 2), await g(2, b=2), await g(3, 3)] == [1, 1, 3]


@pytest.mark.parity("caching", "memoize: timeout/unless/args_to_ignore/response_filter")
@pytest.mark.parity("caching", "memoize: forced_update/make_name/cache_none/is_stale")
async def test_options(cache: Cache, count: list[Any], no_blocking: BlockBuster) -> None:
    def compute(a: int, noise: int = 0) -> int | None:
        count.append(a)
        return None if a < 0 else len(count)

    ignoring = cache.memoize(args_to_ignore=["noise"])(compute)
    assert [await ignoring(1, 1), await ignoring(1, noise=2), await ignoring(1)] == [1, 1, 1]
    unless = cache.memoize(unless=lambda f, a: a == 2, make_name=lambda name: f"{name}-unless")(compute)
    assert [await unless(2), await unless(2)] == [2, 3]
    filtered = cache.memoize(response_filter=lambda value: value > 4, make_name=lambda name: f"{name}-f")(compute)
    assert [await filtered(3), await filtered(3), await filtered(3)] == [4, 5, 5]
    forced = cache.memoize(forced_update=lambda a: a == 4, make_name=lambda name: f"{name}-forced")(compute)
    assert [await forced(4), await forced(4)] == [6, 7]
    stale = cache.memoize(is_stale=lambda value, a: value < 9, make_name=lambda name: f"{name}-stale")(compute)
    assert [await stale(5), await stale(5), await stale(5)] == [8, 9, 9]
    none = cache.memoize(cache_none=True, make_name=lambda name: f"{name}-none")(compute)
    assert [await none(-1), await none(-1)] == [None, None]
    assert len(count) == 10
    no_blocking.deactivate()
    checked = cache.memoize(source_check=True)(compute)
    no_blocking.activate()
    assert await checked.make_cache_key(compute, 1) != await ignoring.make_cache_key(compute, 1)


@pytest.mark.parity("caching", "delete_memoized(f, *args, **kwargs)")
async def test_delete_memoized_functions(cache: Cache, count: list[Any]) -> None:
    """All values of a function, or of one set of arguments."""

    @cache.memoize()
    def f(a: int, b: int = 2) -> int:
        count.append(a)
        return len(count)

    assert [await f(1), await f(2)] == [1, 2]
    await cache.delete_memoized(f, 1, b=2)
    assert [await f(1), await f(2)] == [3, 2]
    await cache.delete_memoized(f)
    assert [await f(1), await f(2)] == [4, 5]
    await f.delete_memoized()
    assert await f(1) == 6
    await cache.delete_memoized_verhash(f)
    assert await f(1) == 7
    for delete in (cache.delete_memoized, cache.delete_memoized_verhash):
        with pytest.raises(TypeError, match="not supported, please use a function reference"):
            await delete("f")


class Adder:
    """Instances are told apart by ``__caching_id__``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __caching_id__(self) -> str:
        return self.name


@pytest.mark.parity("caching", "delete_memoized(f, *args, **kwargs)")
async def test_delete_memoized_methods(cache: Cache, count: list[Any]) -> None:
    """A bound method stands for its instance; through the class it is all of them; class methods need the class."""

    class Sum(Adder):
        @cache.memoize()
        async def add(self, b: int) -> int:
            count.append(b)
            return len(count)

        @classmethod
        @cache.memoize()
        def make(cls, b: int) -> int:
            count.append(b)
            return len(count)

    one, two = Sum("one"), Sum("two")
    assert [await one.add(3), await two.add(3), await one.add(4), await one.add(b=3)] == [1, 2, 3, 1]
    await cache.delete_memoized(one.add, 3)
    assert [await one.add(3), await two.add(3), await one.add(4)] == [4, 2, 3]
    await cache.delete_memoized(Sum.add, two, 3)
    assert [await one.add(3), await two.add(3)] == [4, 5]
    await cache.delete_memoized(one.add)
    assert [await one.add(3), await two.add(3), await one.add(4)] == [6, 5, 7]
    await cache.delete_memoized(Sum.add)
    assert [await one.add(3), await two.add(3)] == [8, 9]
    assert [await Sum.make(1), await Sum.make(1)] == [10, 10]
    await cache.delete_memoized(Sum.make, Sum, 1)
    assert await Sum.make(1) == 11
    with pytest.raises(ValueError, match="you must provide the `self` argument"):
        await cache.delete_memoized(Sum.add, b=3)
    await cache.delete_memoized(Sum.make)
    assert await Sum.make(1) == 12
    with pytest.raises(ValueError, match="you must provide the class as the first argument"):
        await cache.delete_memoized(vars(Sum)["make"].__func__)


async def test_ignoring_self_makes_instances_one(cache: Cache, count: list[Any]) -> None:
    class Shared(Adder):
        @cache.memoize(args_to_ignore=["self"])
        async def f(self, b: int) -> int:
            count.append(b)
            return len(count)

    assert [await Shared("one").f(1), await Shared("two").f(1)] == [1, 1]


@pytest.mark.parity("caching", "memoize: result attributes")
async def test_attributes_of_the_result(cache: Cache, counter: Counter) -> None:
    @cache.memoize(timeout=60)
    async def f(a: int) -> int:
        return await counter()

    assert f.cache_timeout == 60
    f.cache_timeout = 30
    assert await f(1) == 1
    assert await cache.get(await f.make_cache_key(f.uncached, 1)) == 1
    assert await f.uncached(1) == 2
    assert f.__name__ == "f"


async def test_a_reset_while_it_is_computed_is_not_undone(cache: Cache, counter: Counter) -> None:
    """What began to be computed before delete_memoized is not served after it."""

    @cache.memoize()
    async def f() -> int:
        return await counter()

    counter.gate.clear()
    computing = asyncio.create_task(f())
    async with asyncio.timeout(30):
        while not counter.calls:
            await asyncio.sleep(0.001)
    await cache.delete_memoized(f)
    counter.gate.set()
    assert await computing == 1
    assert [await f(), await f()] == [2, 2]
