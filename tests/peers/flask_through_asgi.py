"""A pytest plugin for Flask's own tests: ``app.test_client()`` gives one whose requests go through the ASGI shim.

``FLASK_SUITE_VIEWS`` is ``threads`` or ``loop``; ``plain`` changes nothing. ``FLASK_SUITE_REPORT`` is a file that gets
the tests that made a request by ``test_client``, as JSON: their ids, whether they passed, and why not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _pytest.monkeypatch
import flask
import pytest

from decant.flask import asgi

if not hasattr(_pytest.monkeypatch, "notset"):  # its name until pytest 9, which Flask's conftest.py asks for
    _pytest.monkeypatch.notset = _pytest.monkeypatch.NOTSET  # type: ignore[attr-defined]
MODE = os.environ["FLASK_SUITE_VIEWS"]
_made: dict[str, tuple[str, str]] = {}
_asked = False
_plain = flask.Flask.test_client


def _through_asgi(app: flask.Flask, use_cookies: bool = True, **options: Any) -> Any:
    served = app.__dict__.get("_suite_asgi")
    if MODE == "plain":
        return _noted(_plain(app, use_cookies=use_cookies, **options))
    if served is None:
        served = app.__dict__["_suite_asgi"] = asgi(app, views=MODE, threads=4)  # type: ignore[arg-type]
    return _noted(served.test_client(use_cookies=use_cookies, **options))


def _noted(client: Any) -> Any:
    plain = client.run_wsgi_app

    def run_wsgi_app(*args: Any, **kwargs: Any) -> Any:
        global _asked
        _asked = True
        return plain(*args, **kwargs)

    client.run_wsgi_app = run_wsgi_app
    return client


flask.Flask.test_client = _through_asgi  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Iterator[None]:
    global _asked
    _asked = False
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Iterator[None]:
    report: Any = yield
    if _asked and (report.failed or item.nodeid not in _made):
        said = str(report.longrepr).strip().splitlines()
        why = next((line[2:].strip() for line in said if line.startswith("E ")), said[-1] if said else "")
        _made[item.nodeid] = ("failed", why) if report.failed else (report.outcome, "")
    return report  # type: ignore[no-any-return]


def pytest_sessionfinish() -> None:
    Path(os.environ["FLASK_SUITE_REPORT"]).write_text(json.dumps(_made))
