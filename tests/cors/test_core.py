"""``flask_cors.core``'s functions, which some applications call themselves: beside the originals."""

from __future__ import annotations

import re
from typing import Any

import flask
import pytest

from decant.cors import core

theirs = pytest.importorskip("flask_cors.core", reason="NOT TESTED: the functions of Flask-CORS, which is missing")


def test_every_public_name_is_there() -> None:
    """But its types, which are for annotations, and its logger."""
    own = {name for name, value in vars(theirs).items() if not name.startswith("_") and not isinstance(value, type)}
    functions = {name for name in own if getattr(getattr(theirs, name), "__module__", "") == theirs.__name__}
    constants = {name for name in own if name.isupper()} - {"LOG", "TYPE_CHECKING"}
    assert functions | constants <= {*core.__all__, "merge_options"}
    assert all(getattr(core, name) == getattr(theirs, name) for name in constants if name.startswith("ACL_"))
    assert {*core.CONFIG_OPTIONS} == {*theirs.CONFIG_OPTIONS}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("try_match_pattern", ("www.com", "WwW.CoM", False)),
        ("try_match_pattern", ("www.com", "WwW.CoM")),
        ("try_match_pattern", ("/foo", re.compile("/fo*"))),
        ("try_match_any_pattern", ("b", ["a", re.compile("B?b")])),
        ("flexible_str", ({"b", "a"},)),
        ("flexible_str", (None,)),
        ("probably_regex", ("https?://a.example",)),
        ("probably_regex", ("https://a.example",)),
        ("get_regexp_pattern", (re.compile("a.*"),)),
        ("sanitize_regex_param", (["*", "a"],)),
        ("sanitize_regex_param", ("*",)),
        ("parse_resources", ({"/foo": {"origins": "a"}, r"/api/*": {}, re.compile("/x.*"): {}},)),
        ("parse_resources", (["*", "/b"],)),
    ],
)
def test_functions_agree(name: str, arguments: tuple[Any, ...]) -> None:
    assert getattr(core, name)(*arguments) == getattr(theirs, name)(*arguments)


@pytest.mark.parametrize("allowed", ["*", "X-A.*", ["x-a", "X-C"], []])
@pytest.mark.parametrize("asked", ["X-B, X-A", "x-c", "", None])
def test_headers_that_are_asked_for(allowed: Any, asked: str | None) -> None:
    def answer(module: Any) -> Any:
        return module.get_allow_headers(module.serialize_options({"origins": "*", "allow_headers": allowed}), asked)

    assert answer(core) == answer(theirs)


def test_a_response_of_the_applications_own() -> None:
    """As applications do that add the headers by themselves; the options come from the configuration."""
    app = flask.Flask("test_app")
    app.config["CORS_ORIGINS"] = ["https://a.example", "https://b.example"]
    for origin in ("https://a.example", "https://c.example"):
        with app.test_request_context("/", headers={"Origin": origin}):
            ours, original = (
                dict(module.set_cors_headers(flask.Response(), module.get_cors_options(app)).headers)
                for module in (core, theirs)
            )
            assert ours == original
            options = core.get_cors_options(app, {"origins": "*"})
            assert core.get_cors_origins(options, origin) == [origin]
    with app.app_context():
        assert core.get_app_kwarg_dict() == theirs.get_app_kwarg_dict() == {"origins": app.config["CORS_ORIGINS"]}
