"""Writes docs/flask-names.md: every public name of Flask, and what becomes of it in Quart and in Decant.

    python docs/tools/flask_names.py

compares the installed Flask with the installed Quart and Decant, and notes the outcome under Quart's version in
flask-names.json, next to this file. The page shows every version noted there: run it once with each Quart that Decant
supports (0.22 needs Python below 3.13, 0.23 a newer one). A test does the same without writing, and compares.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from werkzeug.local import LocalProxy
from werkzeug.test import create_environ

sys.path.insert(0, str(Path(__file__).parent))
from comparison import Owner, compare

HERE = Path(__file__).parent
DATA, PAGE = HERE / "flask-names.json", HERE.parent / "flask-names.md"
RENAMED = {
    "Flask": "Quart",
    "FlaskClient": "QuartClient",
    "FlaskCliRunner": "QuartCliRunner",
    "FlaskGroup": "QuartGroup",
    "FlaskProxy": "QuartProxy",
}
DECANTS = {"Flask": "Quart", "FlaskClient": "Client", "FlaskCliRunner": "CliRunner"}
MODULES = ("cli", "config", "ctx", "globals", "helpers", "json", "json.provider", "json.tag", "sessions", "signals")
MODULES += ("templating", "testing", "typing", "views", "wrappers")
Found = dict[str, dict[str, list[str]]]  # section: {name: [Quart, Decant]}

# What the introspection below cannot see.
NOTES = {
    ("flask", "copy_current_request_context"): "the function that it makes is awaited",
    ("flask", "Request"): "made by the application, of other arguments",
    ("flask", "stream_with_context"): "around an asynchronous generator, iterated asynchronously",
    ("flask.Flask.default_config", "SEND_FILE_MAX_AGE_DEFAULT"): "unless set, Flask's with `FLASK_COMPAT`",
    ("werkzeug.test.TestResponse", "data"): "also awaited",
    ("werkzeug.test.TestResponse", "json"): "also awaited",
    ("werkzeug.test.TestResponse", "get_data"): "also awaited",
    ("werkzeug.test.TestResponse", "get_json"): "also awaited",
}


def _instances() -> dict[str, tuple[Any, Any, Any]]:
    """An object of each class whose instances have attributes of their own: Flask's, Quart's, Decant's."""
    import flask
    import quart
    from quart.testing import no_op_push
    from werkzeug.datastructures import Headers

    import decant.quart
    from decant.testing import Client, CliRunner

    apps = flask.Flask("names"), quart.Quart("names"), decant.quart.Quart("names")
    asgi = ("GET", "http", "/", b"", Headers(), "", "1.1", {"type": "http"})
    return {
        "Flask": apps,
        "Blueprint": tuple(package.Blueprint("b", "names") for package in (flask, quart, decant.quart)),
        "Request": (
            flask.Request(create_environ()),
            quart.Request(*asgi, send_push_promise=no_op_push),  # type: ignore[arg-type]
            decant.quart.Request(*asgi, send_push_promise=no_op_push),  # type: ignore[arg-type]
        ),
        "Response": tuple(package.Response("") for package in (flask, quart, decant.quart)),
        "FlaskClient": (apps[0].test_client(), apps[1].test_client(), Client(apps[1])),
        "FlaskCliRunner": (apps[0].test_cli_runner(), apps[1].test_cli_runner(), CliRunner(apps[1])),
    }


def _classes() -> Iterator[tuple[str, Owner, Owner, Owner]]:
    import quart.datastructures
    import quart.sessions
    import quart.views
    import werkzeug.datastructures
    import werkzeug.test
    from flask import sessions, views

    import decant.testing

    for name, (old, plain, ours) in _instances().items():
        module = "flask.testing" if name.startswith("FlaskC") else "flask"
        yield f"{module}.{name}", *(Owner(type(instance), instance) for instance in (old, plain, ours))
    response = decant.testing.TestResponse("")
    yield (
        "werkzeug.test.TestResponse",
        Owner(werkzeug.test.TestResponse),
        Owner(quart.Response, quart.Response("")),
        Owner(decant.testing.TestResponse, response),
    )
    yield (
        "werkzeug.datastructures.FileStorage",
        *(Owner(p.FileStorage) for p in (werkzeug.datastructures, *[quart.datastructures] * 2)),
    )
    for module, plain_module in ((sessions, quart.sessions), (views, quart.views)):
        for name, thing in _own(module):
            if isinstance(thing, type):
                new = Owner(getattr(plain_module, name))
                yield f"{module.__name__}.{name}", Owner(thing), new, new


def _own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What a module defines itself."""
    for name in sorted(vars(module)):
        thing = inspect.getattr_static(module, name)
        if name.startswith("_") or isinstance(thing, ModuleType):
            continue
        if type(thing) is LocalProxy:
            own = module.__name__ == "flask.globals"
        else:
            own = getattr(thing, "__module__", None) == module.__name__ and not isinstance(thing, TypeVar)
        if own:
            yield name, thing


def _ours(owner: type, name: str) -> bool:
    """Whether an attribute is Flask's or Werkzeug's, not a dict's or click's."""
    home = next((base for base in owner.__mro__ if name in vars(base)), owner)
    return home.__module__.startswith(("flask", "werkzeug"))


def find() -> Found:
    """Compare the installed Flask, Quart and Decant."""
    import flask
    import quart

    import decant.quart

    found: Found = {}
    old, plain, ours = Owner(flask), Owner(quart), Owner(decant.quart)
    names = [n for n in old.names() if not isinstance(old.get(n), ModuleType) or n == "json"]
    names = [n for n in names if n not in {"annotations", "t"}]
    found["flask"] = {n: [compare(old, plain, n, RENAMED.get(n, n)), compare(old, ours, n, n)] for n in names}
    for name in MODULES:
        found[f"flask.{name}"] = _module(name, set(names))
    for title, old, plain, ours in _classes():
        found[title] = {
            n: [compare(old, plain, n, n), compare(old, ours, n, n)] for n in old.names() if _ours(old.thing, n)
        }
    found["flask.Flask.default_config"] = {
        key: [_key(value, quart.Quart.default_config, key), _key(value, decant.quart.Quart.default_config, key)]
        for key, value in sorted(flask.Flask.default_config.items())
    }
    for (section, name), note in NOTES.items():
        found[section][name][1] += f" ({note})"
    return {title: rows for title, rows in found.items() if rows}


def _module(name: str, known: set[str]) -> dict[str, list[str]]:
    old = import_module(f"flask.{name}")
    plain, ours = _import(f"quart.{name}"), _import({"testing": "decant.testing"}.get(name, f"decant.quart.{name}"))
    rows = {}
    for n, _ in _own(old):
        if n in known:
            continue
        cell = compare(Owner(old), Owner(plain), n, RENAMED.get(n, n)) if plain is not None else "absent"
        own = compare(Owner(old), Owner(ours), n, DECANTS.get(n, n)) if ours is not None else "absent"
        rows[n] = [cell, cell if own == "absent" else own]
    return rows


def _import(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


def _key(value: Any, defaults: Any, key: str) -> str:
    if key not in defaults:
        return "absent"
    return "same" if defaults[key] == value else f"differs: `{defaults[key]!r}`, not `{value!r}`"


def quart_version() -> str:
    """The version under which what :func:`find` finds is noted: ``0.22``."""
    return ".".join(version("quart").split(".")[:2])


def load() -> dict[str, Found]:
    """What was noted, by Quart's version."""
    return json.loads(DATA.read_text()) if DATA.exists() else {}  # type: ignore[no-any-return]


def dump(noted: dict[str, Found]) -> str:
    """What :func:`load` loads, a line for each name."""
    versions = []
    for quarts, found in noted.items():
        sections = []
        for title, rows in found.items():
            lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(cells)}" for name, cells in rows.items())
            sections.append(f" {json.dumps(title)}: {{\n{lines}}}")
        versions.append(f"{json.dumps(quarts)}: {{\n" + ",\n".join(sections) + "}")
    return "{" + ",\n".join(versions) + "}\n"


def render(noted: dict[str, Found]) -> str:
    """The page."""
    versions = sorted(noted)
    counts = Counter(
        kind for found in noted[versions[-1]].values() for rows in found.values() for kind in [_kind(rows[1])]
    )
    plain = Counter(
        kind for found in noted[versions[-1]].values() for rows in found.values() for kind in [_kind(rows[0])]
    )
    lines = [
        HEADER.format(
            flask=".".join(version("flask").split(".")[:2]), quarts=" and ".join(versions), newest=versions[-1]
        )
    ]
    lines += [f"| of {sum(counts.values())} names | Quart | Decant |", "|---|---|---|"]
    lines += [f"| {kind} | {plain[kind]} | {counts[kind]} |" for kind in ("same", "awaited", "differs", "absent")]
    for title in {title: None for found in noted.values() for title in found}:
        lines += ["", f"## {title}", "", "| name | Quart | Decant |", "|---|---|---|"]
        names = sorted({name for found in noted.values() for name in found.get(title, {})})
        for name in names:
            cells = [
                [found.get(title, {}).get(name, ["absent", "absent"])[i] for found in noted.values()] for i in (0, 1)
            ]
            lines.append(f"| `{name}` | {_cell(versions, cells[0])} | {_cell(versions, cells[1])} |")
    return "\n".join(lines) + "\n"


def _kind(cell: str) -> str:
    if cell.startswith(("awaited", "`async with`")):
        return "awaited"
    return cell.split(":")[0].split(" (")[0]


def _cell(versions: list[str], cells: list[str]) -> str:
    text = cells[0] if len(set(cells)) == 1 else "; ".join(f"{v}: {c}" for v, c in zip(versions, cells, strict=True))
    return text.replace("|", "\\|")


HEADER = """# Flask's names

Every public name of Flask {flask}: its namespace and modules, and the attributes of its classes (those that Flask or
Werkzeug define). The columns tell what a program finds that imports it from Quart, or from `decant.quart` and
`decant.testing`; where Decant has no module of its own, Quart's counts. A part of a cell that begins with a version
holds for that Quart only; Decant supports {quarts}.

- **same**: as in Flask, as far as Python can tell: there, of the same kind, called with the same arguments.
- **awaited**: `await` it, or enter it by `async with`.
- **differs**: in the way that the cell says; arguments that Quart adds are not mentioned.
- **absent**: not there.

This page is generated by `docs/tools/flask_names.py` from the packages themselves, and a test keeps it true. How the
differences are meant, and which Decant closes at run time, is told in [Quart](quart.md) and [Testing](testing.md).
Counted with Quart {newest}:
"""


def main() -> None:
    noted = {**load(), quart_version(): find()}
    noted = {key: noted[key] for key in sorted(noted)}
    DATA.write_text(dump(noted))
    PAGE.write_text(render(noted))
    sys.stdout.write(f"{PAGE}: {', '.join(noted)}\n")


if __name__ == "__main__":
    main()
