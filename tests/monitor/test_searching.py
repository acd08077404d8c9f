"""The search box speaks Flower's language, finds what it says in the ledger, and says what is wrong with the rest."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from decant.monitor.filters import JobFilter
from decant.monitor.listing import find
from decant.monitor.searching import SearchError, condition
from decant.tasks import codec

ROWS = {
    "alice": ("app.mail.send", "'alice@example.com'", "SUCCESS", "web1:1:a", "default", {"sent": "to Alice"}),
    "bob": ("app.mail.send", "'bob@example.com', urgent=True", "FAILURE", "web2:2:b", "mail", None),
    "percent": ("app.stats.count", "'100%'", "SUCCESS", "web1:1:a", "default", 100),
    "quoted": ("app.stats.count", "'two words'", "PENDING", None, "slow", None),
}


@pytest.fixture
async def search(connection: Any) -> Any:
    """Searches in four jobs; the names of those that are found."""
    ids = {}
    for name, (task, summary, state, worker, queue, result) in ROWS.items():
        ids[id_ := uuid.uuid5(uuid.NAMESPACE_DNS, name)] = name
        await connection.execute(
            "INSERT INTO decant_jobs (id, task, summary, state, worker, queue, payload, result)"
            " VALUES ($1, $2, $3, $4, $5, $6, '', $7)",
            *(id_, task, summary, state, worker, queue),
            codec.encode(result) if result is not None else None,
        )

    async def searched(text: str) -> set[str]:
        page = await find(connection, JobFilter(text=text))
        return {ids[row["id"]] for row in page.rows}

    return searched


@pytest.mark.parity("flower", "search language")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("alice", {"alice"}),
        ("ALICE", {"alice"}),
        ("mail.send", {"alice", "bob"}),
        ("web1", {"alice", "percent"}),
        ("mail urgent", {"bob"}),
        ("mail AND urgent", {"bob"}),
        ("alice OR urgent", {"alice", "bob"}),
        ("alice OR mail AND urgent", {"alice", "bob"}),
        ("(alice OR urgent) AND web2", {"bob"}),
        ('"two words"', {"quoted"}),
        ("two words", {"quoted"}),
        ('"words two"', set()),
        ("name:count", {"percent", "quoted"}),
        ("state:failure", {"bob"}),
        ("state:FAIL", set()),
        ("worker:web1", {"alice", "percent"}),
        ("queue:slow", {"quoted"}),
        ("args:bob", {"bob"}),
        ("kwargs:urgent", {"bob"}),
        ('args:"two words"', {"quoted"}),
        ("result:Alice", {"alice"}),
        ("task:stats worker:web1", {"percent"}),
        ("100%", {"percent"}),
        ("%", {"percent"}),
        ("_", set()),
        ("nobody", set()),
        ("", {"alice", "bob", "percent", "quoted"}),
        ("  ", {"alice", "bob", "percent", "quoted"}),
        ("x'; DROP TABLE decant_jobs;", set()),
        ("a\0lice", {"alice"}),
        ("http://nowhere", set()),
        ("12:30", set()),
    ],
)
async def test_it_finds_what_it_says(search: Any, text: str, found: set[str]) -> None:
    assert await search(text) == found


@pytest.mark.parity("flower", "search language")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NOT alice", "NOT"),
        ("-alice", "leaving out"),
        ("(alice", "open"),
        ("alice)", "too many"),
        ('"alice', "quotation mark"),
        ("alice AND", "missing"),
        ("OR alice", "missing"),
        ("()", "missing"),
        ('nonsense:"x"', "no field"),
        ("((((((a))))))", "5 deep"),
        ("a" * 2049, "2048"),
        ("a " * 129, "128"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(SearchError, match=said):
        condition(text, lambda value: "$1")


async def test_five_parentheses_are_enough(search: Any) -> None:
    assert await search("(((((alice)))))") == {"alice"}
