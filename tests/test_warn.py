"""Warnings of old forms name the user's line: else Python's own filter would hide them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import pytest
import quart

from decant.cache import Cache
from decant.faces import face
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address
from decant.socketio import SocketIO
from decant.warn import warn

OLD_FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "cache": lambda app, of: of(Cache)(app, config={"CACHE_TYPE": "simple"}),
    "no cache": lambda app, of: of(Cache)(app),
    "limiter": lambda app, of: of(Limiter)(app, key_func=get_remote_address, storage_uri="memory://"),
    "no storage": lambda app, of: of(Limiter)(get_remote_address, app=app),
    "socketio": lambda app, of: of(SocketIO)(app, async_mode="threading", message_queue="redis://localhost:6379"),
}


@pytest.mark.parametrize("form", OLD_FORMS)
@pytest.mark.parametrize("framework", ["quart", "flask", "face"])
def test_the_warning_is_of_the_line_that_is_old(framework: str, form: str) -> None:
    """On Quart, on Flask, and through the face, whose own lines lie between."""
    app = quart.Quart("old") if framework == "quart" else flask.Flask("old")
    with pytest.warns((UserWarning, DeprecationWarning)) as caught:
        OLD_FORMS[form](app, face if framework == "face" else lambda twin: twin)
    told = [warning for warning in caught if issubclass(warning.category, UserWarning | DeprecationWarning)]
    assert {warning.filename for warning in told} == {__file__}  # and not of what the garbage collector finds


def test_the_category_is_given() -> None:
    with pytest.warns(DeprecationWarning, match="old"):
        warn("old", DeprecationWarning)
