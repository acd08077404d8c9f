"""What a person sees of a page: its forms, its links, its messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Form", "Page"]

_INLINE = frozenset("a abbr b code em i mark small span strong time".split())  # noqa: SIM905
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905


@dataclass
class Form:
    """A form as a browser would send it: ``fields`` has the values that are in it, hidden ones included."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


class Page(HTMLParser):
    """A parsed page.

    ``links`` are the ``(href, rel)`` of its anchors, ``sheets`` the addresses of its style sheets, ``text`` what is
    to be read in it, ``alerts`` and ``notices`` the texts of elements that say so, ``secret`` the value of
    ``<input id="secret">``.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.sheets: list[str] = []
        self.scripts = 0
        self.alerts: list[str] = []
        self.notices: list[str] = []
        self.secret: str | None = None
        self.elements: list[str] = []
        self._texts: list[str] = []
        self._open: list[tuple[str, list[str] | None]] = []
        self._area: tuple[Form, str] | None = None
        self._select: tuple[Form, str] | None = None
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append(tag)
        if tag not in _INLINE:
            self._texts.append(" ")
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag == "a" and "href" in given:
            self.links.append((given["href"], given.get("rel", "")))
        elif tag == "link" and given.get("rel") == "stylesheet":
            self.sheets.append(given.get("href", ""))
        elif tag == "script":
            self.scripts += 1
        elif tag == "input":
            self._input(given)
        else:
            self._choice(tag, given)
        if tag not in _VOID:
            self._open.append((tag, self._said_in(given)))

    def _said_in(self, given: dict[str, str]) -> list[str] | None:
        classes = given.get("class", "").split()
        if given.get("role") == "alert":
            said = self.alerts
        elif "notice" in classes:
            said = self.notices
        else:
            return None
        said.append("")
        return said

    def _input(self, given: dict[str, str]) -> None:
        name, kind = given.get("name", ""), given.get("type", "text").lower()
        if given.get("id") == "secret":
            self.secret = given.get("value", "")
        if not name or not self.forms or kind in ("submit", "button", "image", "reset"):
            return
        form = self.forms[-1]
        if kind == "file":
            form.files.add(name)
        elif kind not in ("checkbox", "radio") or "checked" in given:
            form.fields[name] = given.get("value", "on" if kind == "checkbox" else "")
            if kind == "hidden":
                form.hidden.add(name)

    def _choice(self, tag: str, given: dict[str, str]) -> None:
        if tag in ("textarea", "select") and self.forms and given.get("name"):
            place = (self.forms[-1], given["name"])
            self.forms[-1].fields[given["name"]] = ""
            self._area, self._select = (place, None) if tag == "textarea" else (None, place)
        elif tag == "option" and self._select is not None:
            form, name = self._select
            if "selected" in given or not form.fields[name]:
                form.fields[name] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in _INLINE:
            self._texts.append(" ")
        if tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None
        while any(opened == tag for opened, _ in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            form, name = self._area
            form.fields[name] += data
        if any(opened in ("script", "style") for opened, _ in self._open):
            return
        self._texts.append(data)
        for _, said in self._open:
            if said is not None:
                said[-1] = " ".join(f"{said[-1]} {data}".split())

    def form(self, action: str) -> Form:
        """The form that is sent to this path, or to the page's own address if its ``action`` is empty."""
        for form in self.forms:
            path = form.action.partition("?")[0].partition("#")[0]
            if path == action or (path.endswith(action) and path.startswith("http")):
                return form
        for form in self.forms:
            if not form.action and form.method == "post":
                form.action = action
                return form
        raise AssertionError(f"the page has no form to {action}, but {[form.action for form in self.forms]}")

    def leads_to(self, path: str) -> bool:
        """Whether an anchor leads to that path."""
        return any(href.partition("?")[0].partition("#")[0].endswith(path) for href, _ in self.links)

    def next_page(self) -> str | None:
        """Where ``rel="next"`` leads."""
        return next((href for href, rel in self.links if "next" in rel.split()), None)
