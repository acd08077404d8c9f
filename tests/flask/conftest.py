"""What tests of the Flask side share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import flask
import pytest

from tests.flask.asgi_calls import Views


@pytest.fixture
def polling() -> Iterator[None]:
    """For python-socketio's client: one that polls does not read the answers to what it sends, so that a connection
    may be left to the garbage collector. Which is asked here, before another test hears of it.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(params=["threads", "loop"])
def views(request: pytest.FixtureRequest) -> Views:
    """Where views run: a test that asks is run for both."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def app() -> flask.Flask:
    """An application with nothing in it."""
    app = flask.Flask(__name__)
    app.secret_key = "known"
    return app
