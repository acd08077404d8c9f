"""An application of each framework with static files of its own and of a blueprint."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from blockbuster import BlockBuster

from decant import Quart
from decant.cdn import CDN
from decant.testing.client import Client

CSS = b"body { color: rebeccapurple; margin: 0 }\n" * 200
KINDS = {"decant.Quart": (Quart, quart), "quart.Quart": (quart.Quart, quart), "flask.Flask": (flask.Flask, flask)}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name, content in (
        ("static/app.css", CSS),
        ("static/tiny.css", b"a{}"),
        ("static/sub/photo.png", bytes(range(256)) * 8),
        ("static/large.bin", bytes(3 * 1024 * 1024)),
        ("pages/assets/app.css", CSS[:4100]),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return tmp_path


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, folders: Path, no_blocking: BlockBuster) -> Iterator[Callable[..., Any]]:
    """``make(**config)``: an application with ``CDN``; ``/url?…`` and ``/pages/url?…`` give what url_for says."""
    kind, framework = KINDS[request.param]
    if kind is quart.Quart:  # it has no bridge in which a template could wait for a thread
        no_blocking.functions["os.stat"].can_block_in("decant/cdn/index.py", {"_in_thread"})
    made: list[Any] = []

    def build(debug: bool = False, **config: Any) -> Any:
        app: Any = kind(__name__, root_path=str(folders), instance_path=str(folders), static_folder="static")
        app.config.update(config)
        app.debug = debug
        if isinstance(app, Quart):
            app.test_client_class = Client
        CDN(app)
        pages = framework.Blueprint(
            "pages", __name__, root_path=str(folders / "pages"), static_folder="assets", url_prefix="/pages"
        )
        template = "{{ url_for(endpoint, **values) }}"
        values: dict[str, Any] = {}

        if framework is quart:

            async def say() -> str:
                values["values"] = {key: _value(value) for key, value in quart.request.args.items() if key != "e"}
                return await quart.render_template_string(template, endpoint=quart.request.args["e"], **values)
        else:

            def say() -> str:  # type: ignore[misc]
                values["values"] = {key: _value(value) for key, value in flask.request.args.items() if key != "e"}
                return flask.render_template_string(template, endpoint=flask.request.args["e"], **values)

        app.add_url_rule("/url", "url", say)
        pages.add_url_rule("/url", "url", say)
        app.register_blueprint(pages)
        made.append(app)
        return app

    yield build
    for app in made:
        if isinstance(app, Quart):
            app.workers.close()


def _value(text: str) -> Any:
    return None if text == "None" else text


@pytest.fixture
def get() -> Callable[..., Any]:
    """``await get(app, path, method="GET", **headers)``: status, headers, body; ``url_scheme`` may be given."""

    async def fetch(app: Any, path: str, method: str = "GET", scheme: str = "http", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(app, quart.Quart):
            response: Any = await app.test_client().open(path, method=method, headers=named, scheme=scheme)
            return response.status_code, response.headers, await response.get_data()

        def ask() -> Any:
            response = app.test_client().open(path, method=method, headers=named, url_scheme=scheme)
            with response:
                return response.status_code, response.headers, response.get_data()

        return await asyncio.to_thread(ask)

    return fetch
