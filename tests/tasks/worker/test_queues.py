"""How free slots are shared out between queues."""

from __future__ import annotations

import pytest

from decant.errors import ConfigError
from decant.tasks.worker.queues import Queues


@pytest.mark.parametrize(
    ("text", "weights"),
    [("a", {"a": 1}), (" a , b ", {"a": 1, "b": 1}), ("a=1,b=3", {"b": 3, "a": 1}), ("a.b:c=1000", {"a.b:c": 1000})],
)
def test_names_and_weights_are_read_the_heaviest_first(text: str, weights: dict[str, int]) -> None:
    assert list(Queues.parse(text).items()) == list(weights.items())


@pytest.mark.parametrize("text", ["", "a,", "a,a", "a=", "a=x", "a=0", "a=-1", "a=1001", "a b", "=3"])
def test_what_is_no_list_of_queues_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ConfigError, match="queues"):
        Queues.parse(text)


def test_one_slot_at_a_time_is_shared_by_weight_too() -> None:
    queues = Queues({"a": 3, "b": 1})
    given = [tuple(queues.shares(1)) for _ in range(8)]
    assert given.count((1, 0)) == 6
    assert given.count((0, 1)) == 2
    assert (0, 1) in given[:4]


def test_many_slots_are_shared_by_weight() -> None:
    assert Queues({"a": 3, "b": 1}).shares(100) == [75, 25]
    assert Queues({"a": 1}).shares(7) == [7]


def test_queues_come_and_go() -> None:
    queues = Queues({"a": 1})
    queues.add("b", 2)
    assert dict(queues) == {"b": 2, "a": 1}
    queues.remove("a")
    queues.remove("unknown")
    assert queues.shares(3) == [3]
    queues.remove("b")
    assert not queues
    with pytest.raises(ConfigError, match="weight of c"):
        queues.add("c", True)
