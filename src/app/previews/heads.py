"""The title and the description in a page's head.

Not by ``html.parser``: it takes time that grows with the square of some inputs (80 KB of ``<a<a<a…`` take 7 s in Python
3.11), and pages are anybody's. Here every step moves on, and every part has a bound.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

__all__ = ["LONGEST_DESCRIPTION", "LONGEST_TITLE", "Preview", "decoded", "read_head"]

LONGEST_TITLE, LONGEST_DESCRIPTION = 200, 500
_LONGEST_RAW = 2000  # before entities and blanks are resolved
_LONGEST_TAG = 8192
_MOST_ATTRIBUTES = 100
# What matters in a head, and what ends it.
_NEXT = re.compile(r"<(?:(!--)|(title|meta|script|style|template|noscript|textarea|body|/head)(?=[\s/>]))", re.I)
_RAW = frozenset({"script", "style", "template", "textarea"})
_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.I) for name in ("title", *_RAW)}
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s"'>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?\s{0,9}([a-zA-Z0-9_:.-]{1,40})""", re.I)
_META_WITHIN = 4096
_TITLES, _DESCRIPTIONS = (
    ("og:title", "title", "twitter:title"),
    ("og:description", "description", "twitter:description"),
)
_JOINERS = frozenset("\u200c\u200d")  # within words of some scripts, and within emoji
# Browsers read the first two of each line as the last one. Not every codec of Python is for text from strangers.
_CODECS = {
    **dict.fromkeys(("utf-8", "utf8", "unicode-1-1-utf-8"), "utf-8"),
    **dict.fromkeys(("ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1", "windows-1252", "cp1252"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "windows-949"), "cp949"),
    **dict.fromkeys(("big5", "big5-hkscs"), "big5hkscs"),
    **dict.fromkeys(("iso-8859-9", "windows-1254"), "cp1254"),
    **dict.fromkeys(("iso-8859-11", "tis-620", "windows-874"), "cp874"),
    **{f"windows-125{n}": f"cp125{n}" for n in (0, 1, 3, 5, 6, 7, 8)},
    **{f"iso-8859-{n}": f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "macintosh": "mac_roman",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Preview:
    """One line each, at most 200 and 500 characters, without control characters; None where the page has none."""

    title: str | None
    description: str | None


def decoded(data: bytes, charset: str | None) -> str:
    """The text: by its byte order mark, by the header's ``charset``, by what its ``<meta>`` says, else as UTF-8."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return data.decode(codec, "replace")
    named = _CODECS.get((charset or "").strip().lower())
    if named is None and (found := _CHARSET.search(data[:_META_WITHIN])):
        named = _CODECS.get(found[1].decode().lower())
        if named is not None and named.startswith("utf-16"):
            named = "utf-8"  # it was just read as ASCII
    return data.decode(named or "utf-8", "replace")


def read_head(text: str) -> Preview:
    """The preview of a page: what it wants to be shown as (``og:``), else its title and its description."""
    found: dict[str, str] = {}
    position = 0
    while (tag := _NEXT.search(text, position)) is not None:
        name = "comment" if tag[1] else tag[2].lower()
        if name in ("body", "/head"):
            break
        position = _read_part(text, name, tag.end(), found)
        if position < 0:
            break
    title = next((found[name] for name in _TITLES if name in found), None)
    description = next((found[name] for name in _DESCRIPTIONS if name in found), None)
    return Preview(title, description)


def _read_part(text: str, name: str, position: int, found: dict[str, str]) -> int:
    """Read one part into ``found``; where to go on, or -1 if it does not end."""
    if name == "comment":
        end = text.find("-->", max(position - 2, 0))  # <!--> is one
        return end if end < 0 else end + 3
    attributes, position = _attributes(text, position)
    if name == "meta":
        key = attributes.get("property") or attributes.get("name") or ""
        _keep(found, key.lower(), attributes.get("content", ""))
        return position
    if name not in _ENDS:
        return position
    closing = _ENDS[name].search(text, position)
    if closing is None:
        return -1
    if name == "title":
        _keep(found, "title", text[position : min(closing.start(), position + _LONGEST_RAW)])
    return closing.end()


def _attributes(text: str, position: int) -> tuple[dict[str, str], int]:
    """A tag's attributes, the first of each name, and where it ends; one that is too long is skipped."""
    attributes: dict[str, str] = {}
    limit = min(len(text), position + _LONGEST_TAG)
    for _ in range(_MOST_ATTRIBUTES):
        part = _ATTRIBUTE.match(text, position, limit)
        if part is None:
            break
        position = part.end()
        value = part[2] or part[3] or part[4] or ""
        attributes.setdefault(part[1].lower()[:32], value[:_LONGEST_RAW])
    end = text.find(">", position, limit)
    return attributes, (end + 1 if end >= 0 else limit)


def _keep(found: dict[str, str], key: str, raw: str) -> None:
    """Note the first text that is one of those looked for and not blank."""
    if key in found or key not in (*_TITLES, *_DESCRIPTIONS):
        return
    if line := _line(raw, LONGEST_TITLE if key in _TITLES else LONGEST_DESCRIPTION):
        found[key] = line


def _line(raw: str, most: int) -> str:
    """One line: entities resolved, blanks joined, invisible characters left out, cut at ``most``."""
    text = unicodedata.normalize("NFC", html.unescape(raw))
    text = " ".join("".join(_visible(char) for char in text).split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] == "Z" or char in "\t\n\r\f\v":
        return " "
    # Control characters, those that turn the direction of what follows, halves of pairs, private ones.
    return "" if category[0] == "C" and char not in _JOINERS else char
