"""What a link's fields may be: each rule with input that breaks it, and the sentence that says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.links import rules
from app.links.targets import target
from app.web.forms import Refused

OWN = frozenset({"sho.rt", "127.0.0.1:8000", "BÜCHERLADEN.example", "not a host"})
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" https://example.com ", "https://example.com/"),
        ("HTTP://EXAMPLE.com:80/A?b=C#d", "http://example.com/A?b=C#d"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://bücher.example/straße?q=ü#ö", "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%BC#%C3%B6"),
        ("https://example.com/a%20b/%2F", "https://example.com/a%20b/%2F"),
        ("https://example.com./", "https://example.com/"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000/"),
        ("http://sho.rt:8080/", "http://sho.rt:8080/"),
        ("https://example.com/?q=%zz", "https://example.com/?q=%zz"),
    ],
)
def test_addresses_have_one_normal_form(given: str, kept: str) -> None:
    """Scheme and host in lower case, the host in ASCII, no default port; nothing else changes what is asked for."""
    assert target(given, own_hosts=OWN) == kept


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "Enter the address"),
        ("   ", "Enter the address"),
        ("example.com/page", "with its scheme"),
        ("javascript:alert(1)", "Only http and https"),
        ("data:text/html,x", "Only http and https"),
        ("ftp://example.com/", "Only http and https"),
        ("//example.com/", "Only http and https"),
        ("https:example.com", "with its scheme"),
        ("https://", "Only http and https"),
        ("https:///path", "Only http and https"),
        ("https://user:pass@example.com/", "leave them out"),
        ("https://user@example.com/", "leave them out"),
        ("https://@example.com/", "leave them out"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://exam ple.com/", "no blanks"),
        ("https://example.com/\r\nSet-Cookie: a=b", "no blanks"),
        ("https://example.com/\x00", "control characters"),
        ("https://example.com/\x1b[31m", "control characters"),
        ("https://example.com/\u202egpj.exe", "control characters"),
        ("https://example.com/\ud800", "control characters"),
        ("https://" + "a" * 2050, "2048"),
        ("https://example.com/" + "ü" * 1000, "encoded"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:http/", "port"),
        ("https://[::1/", "brackets"),
        ("https://[v1.x]/", "IPv6"),
        ("https://-bad-.example/", "host's name"),
        ("https://a..example/", "host's name"),
        ("https://exa%6dple.com/", "host's name"),
        ("https://" + "a" * 64 + ".example/", "host's name"),
        ("http://2130706433/", "IPv4"),
        ("http://0x7f.1/", "IPv4"),
        ("http://127.1/", "IPv4"),
        ("http://1.2.3.256/", "IPv4"),
        ("https://sho.rt/abc", "round in circles"),
        ("HTTPS://SHO.RT./abc", "round in circles"),
        ("http://sho.rt:80/abc", "round in circles"),
        ("http://127.0.0.1:8000/abc", "round in circles"),
        ("https://ｓｈｏ.rt/abc", "round in circles"),
        ("http://localhost:8000/abc", "round in circles"),
        ("http://a.localhost:8000/abc", "round in circles"),
        ("http://[::ffff:127.0.0.1]:8000/abc", "round in circles"),
        ("http://[::1]:8000/abc", "round in circles"),
        ("http://0.0.0.0:8000/abc", "round in circles"),
        ("https://bücherladen.example/abc", "round in circles"),
    ],
)
def test_addresses_are_refused_with_a_sentence(given: str, sentence: str) -> None:
    """Nothing but http and https addresses of other sites, without credentials or disguises."""
    with pytest.raises(Refused, match=sentence):
        target(given, own_hosts=OWN)


def test_a_slug_may_be_left_to_us() -> None:
    """An empty short name is none."""
    assert rules.slug("  ", reserved=()) is None
    assert rules.slug(" My-Link_2 ", reserved=()) == "My-Link_2"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("ab", "3 to 64"),
        ("a" * 65, "3 to 64"),
        ("a b c", "only letters"),
        ("a/b", "only letters"),
        ("straße", "only letters"),
        ("abc\x00", "only letters"),
        ("../etc", "only letters"),
        ("Links", "needed by this site"),
        ("static", "needed by this site"),
    ],
)
def test_slugs_are_refused_with_a_sentence(given: str, sentence: str) -> None:
    """Letters, digits, - and _, and no word that is a page of ours, in whatever case."""
    with pytest.raises(Refused, match=sentence):
        rules.slug(given, reserved={"links", "static"})


@pytest.mark.parametrize("given", ["a\nb", "a\x00b", "a\u2028b", "\ud800", "a\x7fb"])
def test_titles_are_one_line(given: str) -> None:
    """No line break and no control character, nor what PostgreSQL cannot keep."""
    with pytest.raises(Refused, match="control characters"):
        rules.title(given)


def test_titles_have_a_length() -> None:
    """200 characters, 201 are refused."""
    assert rules.title("x" * 200) == "x" * 200
    assert rules.title(" ") is None
    with pytest.raises(Refused, match="at most 200 characters; this one has 201"):
        rules.title("x" * 201)


@pytest.mark.parametrize(
    ("given", "zone", "moment"),
    [
        ("2026-12-31T23:59", "UTC", datetime(2026, 12, 31, 23, 59, tzinfo=UTC)),
        ("2026-12-31T23:59", "America/New_York", datetime(2027, 1, 1, 4, 59, tzinfo=UTC)),
        ("2027-07-01T12:00:30", "Europe/Berlin", datetime(2027, 7, 1, 10, 0, 30, tzinfo=UTC)),
        ("2027-07-01T12:00+05:30", "Europe/Berlin", datetime(2027, 7, 1, 6, 30, tzinfo=UTC)),
        ("2027-07-01T12:00:00Z", "", datetime(2027, 7, 1, 12, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_in_its_time_zone(given: str, zone: str, moment: datetime) -> None:
    """A moment without an offset is in the zone that is named beside it; it is kept in UTC."""
    assert rules.expiry(given, zone, now=NOW) == moment


@pytest.mark.parametrize(
    ("given", "zone", "sentence"),
    [
        ("soon", "UTC", "not a date"),
        ("2026-13-01T00:00", "UTC", "not a date"),
        ("2026-11-20T12:00", "UTC", "already"),
        ("2026-11-20T12:30", "Asia/Tokyo", "already"),
        ("2027-01-01T00:00", "Mars/Olympus", "not a time zone"),
        ("2027-01-01T00:00", "../../etc/passwd", "not a time zone"),
        ("9999-12-31T23:59", "America/New_York", "out of range"),
        ("2500-01-01T00:00", "UTC", "hundred years"),
        ("0001-01-01T00:00+14:00", "UTC", "out of range"),
    ],
)
def test_expiries_are_refused_with_a_sentence(given: str, zone: str, sentence: str) -> None:
    """A date and time in the future, in a time zone that exists."""
    with pytest.raises(Refused, match=sentence):
        rules.expiry(given, zone, now=NOW)


def test_an_expiry_that_has_passed_may_stay() -> None:
    """A link that is edited keeps its expiry, but gets no other one in the past."""
    past = NOW - timedelta(days=1)
    assert rules.expiry(past.isoformat(), now=NOW, unchanged=past) == past
    with pytest.raises(Refused, match="already"):
        rules.expiry((past + timedelta(minutes=1)).isoformat(), now=NOW, unchanged=past)


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "1e3", "many", "1000000001", "9" * 500, "٣", "0x10"])
def test_visits_are_a_whole_number(given: str) -> None:
    """1 to a milliard, in digits."""
    with pytest.raises(Refused, match="whole number"):
        rules.max_visits(given)


def test_visits_may_be_unlimited() -> None:
    """Nothing is no limit."""
    assert rules.max_visits("") is None
    assert rules.max_visits(" 10 ") == 10


def test_tags_are_lower_case_words_each_once() -> None:
    """Order, case and repetition do not matter."""
    assert rules.tag_names(["B", " a ", "", "b"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["x" * 33], "at most 32 characters"),
        ([f"t{n}" for n in range(11)], "at most 10 tags; these are 11"),
        (["a\x00"], "control characters"),
        (["a,b"], "no comma"),
    ],
)
def test_tags_are_refused_with_a_sentence(given: list[str], sentence: str) -> None:
    """At most ten of at most 32 characters."""
    with pytest.raises(Refused, match=sentence):
        rules.tag_names(given)
