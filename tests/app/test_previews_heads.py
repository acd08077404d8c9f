"""The head of a page: what is read from it, and that no page takes long."""

from __future__ import annotations

import time

import pytest

from app.previews.heads import Preview, decoded, read_head


@pytest.mark.parametrize(
    ("page", "title", "description"),
    [
        ("<title>A page</title>", "A page", None),
        ("<!doctype html><HTML><Head><TITLE\nlang=en>A\n\t page </Title >", "A page", None),
        ("<title>Fish &amp; chips &#8364;5 &lt;b&gt;</title>", "Fish & chips €5 <b>", None),
        ("<title></title><title> </title><title>B</title>", "B", None),
        ("<title>First</title><svg><title>Second</title></svg>", "First", None),
        ("<meta name=description content=words><title>A</title>", "A", "words"),
        ("<META CONTENT='it is \"so\"' NAME='Description'/>", None, 'it is "so"'),
        ('<meta name="description" content="a > b"><title>A</title>', "A", "a > b"),
        ("<title>A</title><meta property='og:title' content='B'>", "B", None),
        ("<meta property=og:description content=B><meta name=description content=A>", None, "B"),
        ("<meta name=twitter:title content=T><meta name=twitter:description content=D>", "T", "D"),
        ("<meta name=description><meta name=description content=''><meta name=description content=A>", None, "A"),
        ("<!-- <title>no</title> --><title>A</title>", "A", None),
        ("<!--><title>A</title>", "A", None),
        ("<!-- no end <title>A</title>", None, None),
        ("<script>document.write('<title>no</title>')</script><title>A</title>", "A", None),
        ("<style>/*<title>no</title>*/</style><title>A</title>", "A", None),
        ("<template><title>no</title></template><title>A</title>", "A", None),
        ("<script>no end <title>A</title>", None, None),
        ("<head></head><title>late</title>", None, None),
        ("<body><title>late</title>", None, None),
        ("<title>no end", None, None),
        ("<titles>A</titles><metadata name=description content=A>", None, None),
        ("<meta name=description content='no end><title>A</title>", "A", None),
        ("", None, None),
        ("no page at all", None, None),
    ],
)
def test_what_a_page_says_of_itself(page: str, title: str | None, description: str | None) -> None:
    """As a browser would read it; what is a comment, a script, or not in the head is not taken."""
    assert read_head(page) == Preview(title, description)


def test_texts_are_one_line_of_bounded_length() -> None:
    """200 and 500 characters, cut with an ellipsis."""
    found = read_head(f"<title>{'word ' * 100}</title><meta name=description content='{'x' * 3000}'>")
    assert found.title is not None
    assert found.description is not None
    assert len(found.title) <= 200
    assert found.title.endswith("word…")
    assert found.description == "x" * 499 + "…"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x00b\x07c\x1bd", "abcd"),
        ("a\u202eb\u2066c\u200bd", "abcd"),
        ("a\u2028b\u00a0c\u3000d", "a b c d"),
        ("a\ue000b", "ab"),
        ("&#0;&#x202e;&#xd800;a", "\ufffd\ufffda"),
        ("e\u0301", "é"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("&#" + "9" * 1900 + ";", "\ufffd"),
    ],
)
def test_control_characters_are_left_out(raw: str, shown: str) -> None:
    """Nothing that moves, hides or turns what is around it; blanks of every kind are one blank."""
    assert read_head(f"<title>{raw}</title>").title == shown


@pytest.mark.parametrize(
    "part",
    [
        *(
            "<",
            "<!--",
            "<!-->",
            "<!-- -",
            "<a",
            "</a",
            "&#",
            " ",
            "<title>",
            "<title ",
            "</title",
            "<script>",
            "<script ",
        ),
        *("</script", "<script></script>", "<meta ", "<meta  ", "<meta/", '<meta a="', "<meta a='", '<meta a="x" '),
        *("<meta a = ", "<meta =", "<meta a='\" ", "<meta charset", "<meta charset=", "<meta name=title content='"),
        "<meta content='&#9999999;' name=title>",
    ],
)
@pytest.mark.parametrize("before", ["", "<meta a"])
def test_no_page_takes_long(part: str, before: str) -> None:
    """Half a megabyte of what makes parsers slow: time grows with the length, not with its square."""
    page = before + part * (500_000 // len(part))
    begun = time.process_time()
    decoded(page.encode(), None)
    read_head(page)
    assert time.process_time() - begun < 5
