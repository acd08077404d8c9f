"""The servers that the other tests stand on."""

import psycopg
import pytest
from blockbuster import BlockingError
from redis import Redis


def test_each_test_has_a_database_of_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
        assert row.fetchone() == (0,)


def test_redis_is_empty_at_the_start(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


async def test_blocking_the_loop_fails_the_test() -> None:
    import time

    with pytest.raises(BlockingError):
        time.sleep(0.01)
