"""What jobs carry comes back as it was, or is refused with the reason."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decant.tasks import MaxRetriesExceededError, RemoteError, Retry
from decant.tasks.codec import (
    Envelope,
    adapt,
    decode,
    decode_arq,
    decode_envelope,
    decode_error,
    encode,
    encode_arq,
    encode_envelope,
    encode_error,
    summarize,
    to_plain,
)
from decant.tasks.errors import InvalidTaskError, PayloadTooLarge

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes()
    | st.datetimes(timezones=st.sampled_from([dt.UTC, ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=5))]))
    | st.complex_numbers(allow_nan=False)
)
_hashable = _scalars | st.tuples(_scalars) | st.frozensets(_scalars, max_size=3)
_values = st.recursive(
    _hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_hashable, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(_hashable, max_size=3)
    ),
    max_leaves=12,
)


def _typed(value: Any) -> Any:
    """A value with the types in it, so that 1 and True and 1.0 differ."""
    kind = type(value)
    if kind in (list, tuple):
        return kind.__name__, [_typed(one) for one in value]
    if kind in (set, frozenset):
        return kind.__name__, sorted((_typed(one) for one in value), key=repr)
    if kind is dict:
        return "dict", [(_typed(key), _typed(one)) for key, one in value.items()]
    return kind.__name__, repr(value)


@settings(deadline=None)
@given(_values)
def test_what_is_encoded_comes_back_with_its_types(value: Any) -> None:
    assert _typed(decode(encode(value))) == _typed(value)


@settings(deadline=None)
@given(st.binary())
def test_bytes_from_elsewhere_are_refused_and_run_nothing(data: bytes) -> None:
    try:
        decode(data)
    except InvalidTaskError:
        return


def test_the_second_half_of_a_doubled_hour_stays_the_second() -> None:
    when = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    again = decode(encode(when))
    assert (again, again.fold, again.utcoffset()) == (when, 1, dt.timedelta(hours=1))


def test_infinite_numbers_and_large_ones_are_kept() -> None:
    assert decode(encode([math.inf, -math.inf, 10**4000, -(2**64)])) == [math.inf, -math.inf, 10**4000, -(2**64)]


def test_objects_of_derived_classes_come_back_as_their_base() -> None:
    point = collections.namedtuple("point", "x y")(1, 2)
    value = [point, collections.OrderedDict(a=1), collections.defaultdict(list, b=[2])]
    assert _typed(decode(encode(value))) == _typed([(1, 2), {"a": 1}, {"b": [2]}])


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Flag(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Point:
    x: int
    colour: Colour = Colour.RED
    inside: list[Point] = field(default_factory=list)


class Model:
    __mapper__ = True


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([1, {"who": object()}], r"a object at \[1\]\['who'\] cannot be handed to a worker: pass what it is made of"),
        (Colour.RED, "Colour cannot .* annotate the task's parameter with the enumeration"),
        ({"a": Point(1)}, r"Point at \['a'\] cannot .* annotate the task's parameter with the dataclass"),
        (Model(), "Model cannot .* pass the row's id"),
        ({1: (Flag.A,)}, r"Flag at \[1\]\[0\]"),
        (len, "builtin_function_or_method"),
        ({"a": "\ud800"}, "cannot be encoded as UTF-8"),
    ],
)
def test_anything_else_is_refused_with_its_type_and_place(value: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        encode(value)


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="contains itself"):
        encode(value)


# -- calls -------------------------------------------------------------------------------------------------------------


def test_a_call_comes_back_with_all_that_belongs_to_it() -> None:
    call = Envelope([1], {"a": {2}}, [{"task": "x"}], [{"task": "y"}], [{"task": "z"}], {"time_limit": 3}, {"h": "v"})
    assert decode_envelope(encode_envelope(call, limit_bytes=1000)) == call


def test_a_refused_argument_is_named() -> None:
    with pytest.raises(TypeError, match=r"object at args\[0\]\['a'\]"):
        encode_envelope(Envelope(args=[{"a": object()}]), limit_bytes=1000)
    with pytest.raises(TypeError, match=r"object at kwargs\['b'\]"):
        encode_envelope(Envelope(kwargs={"b": object()}), limit_bytes=1000)


def test_a_call_that_is_too_large_says_what_to_do() -> None:
    with pytest.raises(PayloadTooLarge, match="more than the 1,000 that TASKS_MAX_ARGUMENTS_KB allows: store what is"):
        encode_envelope(Envelope(args=["x" * 1000]), limit_bytes=1000)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", encode([99]), encode({"a": 1}), encode([2, [], {}, [], [], [], {}, {}])]
)
def test_what_is_no_call_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidTaskError, match="cannot be read"):
        decode_envelope(data)


# -- annotations -------------------------------------------------------------------------------------------------------


def annotated(
    colour: Colour,
    points: list[Point],
    *rest: dict[str, Colour] | None,
    pair: tuple[Colour, int] = (Colour.RED, 0),
    many: tuple[Colour, ...] = (),
    maybe: Annotated[Point | None, "a note"] = None,
    flag: Flag = Flag.A,
    **others: Colour,
) -> None: ...


def test_enumerations_and_dataclasses_travel_by_the_functions_annotations() -> None:
    args = [Colour.RED, [Point(1, Colour.BLUE, [Point(2)])], {"a": Colour.BLUE}, None]
    kwargs: dict[str, Any] = {
        "pair": (Colour.BLUE, 1),
        "many": (Colour.RED, Colour.BLUE),
        "maybe": Point(3),
        "flag": Flag.A | Flag.B,
        "other": Colour.BLUE,
    }
    plain = to_plain(annotated, args, kwargs)
    assert plain[0][0] == "r"
    assert plain[0][1][0] == {"x": 1, "colour": "b", "inside": [{"x": 2, "colour": "r", "inside": []}]}
    assert adapt(annotated, *decode(encode(plain))) == (args, kwargs)


def test_plain_values_are_taken_for_enumerations_too() -> None:
    assert adapt(annotated, ["b", []], {})[0] == [Colour.BLUE, []]
    with pytest.raises(ValueError, match="'x' is not a valid Colour"):
        adapt(annotated, ["x", []], {})


def test_a_class_is_never_found_by_a_name_in_the_payload() -> None:
    plain = to_plain(annotated, [Colour.RED, [Point(1)]], {})
    assert b"Point" not in encode(plain)
    assert b"Colour" not in encode(plain)


def test_an_object_of_a_derived_class_is_not_cut_down() -> None:
    @dataclass
    class More(Point):
        z: int = 0

    plain = to_plain(annotated, [Colour.RED, [More(1)]], {})
    with pytest.raises(TypeError, match="More"):
        encode(plain)


def test_annotations_that_cannot_be_found_are_no_obstacle() -> None:
    def function(x: Unknown, y: Colour) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert to_plain(function, [1, Colour.RED], {}) == ([1, "r"], {})


def test_of_two_dataclasses_nobody_could_say_which_is_meant() -> None:
    @dataclass
    class Other:
        y: int

    def function(one: Point | Other) -> None: ...

    function.__annotations__["one"] = Point | Other
    with pytest.raises(TypeError, match="Point"):
        encode(to_plain(function, [Point(1)], {}))


# -- errors ------------------------------------------------------------------------------------------------------------


class Own(Exception):
    pass


class Awkward(Exception):
    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"{code}: {hint}")


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raised(error: BaseException) -> bytes:
    try:
        raise error
    except BaseException as caught:
        return encode_error(caught)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("k"),
        OSError(2, "No such file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        MaxRetriesExceededError("too often"),
        Retry("later", ValueError("x"), 3.0),
    ],
)
def test_errors_that_everybody_knows_are_made_again(error: Exception) -> None:
    info = decode_error(raised(error))
    assert type(info.exception) is type(error)
    assert str(info.exception) == str(error) == info.message
    assert "in raised" in info.traceback
    assert "in raised" in str(info.exception.__cause__)


def test_others_are_made_again_only_where_they_are_known() -> None:
    data = raised(Own("m", 1))
    assert isinstance(decode_error(data).exception, RemoteError)
    assert decode_error(data).type == f"{__name__}.Own"
    known = decode_error(data, [Own]).exception
    assert isinstance(known, Own)
    assert known.args == ("m", 1)


def test_an_error_that_cannot_be_made_again_stays_remote() -> None:
    info = decode_error(raised(Awkward(1, hint="h")), [Awkward])
    assert isinstance(info.exception, RemoteError)
    assert str(info.exception) == f"{__name__}.Awkward: 1: h"


def test_an_error_that_cannot_tell_is_told_of_nevertheless() -> None:
    assert "whose str() failed" in decode_error(raised(Broken())).message
    assert decode_error(raised(Own(object()))).message.startswith("<object object")


def test_long_errors_are_cut_in_the_middle() -> None:
    info = decode_error(raised(ValueError("a" * 1_000_000 + "z")))
    assert len(info.message) < 10_000
    assert info.message.endswith("z")
    assert "characters left out" in info.message


def test_a_remote_error_passes_through_a_second_worker() -> None:
    first = decode_error(raised(Own("m"))).exception
    second = decode_error(encode_error(first)).exception
    assert str(second) == str(first)
    assert isinstance(second, RemoteError)
    assert "in raised" in second.traceback


# -- for people, and arq -----------------------------------------------------------------------------------------------


def test_a_summary_is_short_and_keeps_secrets() -> None:
    text = summarize([1, "a" * 1000, {"password": "p", "x": [1] * 50}], {"api_token": "t", "n": uuid4()})
    assert len(text) <= 200
    assert "'password': '…'" in text
    assert "api_token=…" in summarize([], {"api_token": "t"})
    nested = summarize([[{"password": "hunter2", "name": "ada"}]], {"user": {"login": {"secret": "hunter2"}}})
    assert "hunter2" not in nested
    assert "ada" in nested
    assert summarize(["\0\ud800"], {}).encode()


def test_arqs_records_are_plain_too() -> None:
    job = {"t": 1, "f": "decant.run", "a": ("add", str(UUID(int=1))), "k": {}, "et": 5}
    assert decode_arq(encode_arq(job)) == job
    failed = decode_arq(encode_arq({"s": False, "r": Own("m")}))
    assert isinstance(failed["r"], RemoteError)
    with pytest.raises(InvalidTaskError):
        decode_arq(encode([1]))


def test_decimals_of_all_kinds() -> None:
    for text in ("NaN", "Infinity", "1E+30", "0.10"):
        assert repr(decode(encode(Decimal(text)))) == repr(Decimal(text))


class OwnId(UUID):
    """As asyncpg's, in which SQLAlchemy reads UUIDs."""


class Moment(dt.datetime):
    """As pandas'."""


@pytest.mark.parametrize(
    "value", [OwnId(int=5), Moment(2026, 3, 4, 5, tzinfo=ZoneInfo("Europe/Berlin")), [{"id": OwnId(int=6)}]]
)
def test_what_is_derived_from_a_type_comes_back_as_that(value: Any) -> None:
    back = decode(encode(value))
    assert back == value
    assert type(back) in (UUID, dt.datetime, list)


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Box:
    level: Level


@dataclass
class Crate:
    level: Level


def test_of_a_union_what_is_no_member_is_left_as_it_is() -> None:
    def task(level: Level | int, place: Box | str) -> None: ...

    assert adapt(task, *to_plain(task, [Level.HIGH, Box(Level.LOW)], {})) == ([Level.HIGH, Box(Level.LOW)], {})
    assert adapt(task, *to_plain(task, [7, "here"], {})) == ([7, "here"], {})


def test_a_union_of_two_dataclasses_is_refused_with_the_reason() -> None:
    def task(place: Box | Crate) -> None: ...

    with pytest.raises(TypeError, match="in a union the only one of its kind"):
        encode(to_plain(task, [Box(Level.LOW)], {}))
