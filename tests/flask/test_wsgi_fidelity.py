"""The same requests to Gunicorn and to the shim: what comes back is the same, byte by byte.

What differs is in ``DIFFERENT``, with its reason; docs/shim.md lists the same for users.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

from decant.flask import asgi
from tests.flask.fidelity.application import create_app
from tests.flask.fidelity.cases import CASES
from tests.flask.fidelity.peers import Address, ask, gunicorn, hypercorn

DIFFERENT = {
    "raw replaced": "Gunicorn 27 keeps the headers that start_response() with exc_info replaces, against PEP 3333",
    "raw raises": "the page for an error outside of Flask is Werkzeug's, as for one within it, not Gunicorn's",
}


@pytest.fixture(autouse=True)
def _files_are_looked_up_on_the_loop(no_blocking: BlockBuster) -> None:
    """By a view that runs there: Flask's own os.stat, as in send_file, takes a microsecond."""
    no_blocking.functions["os.stat"].can_block_in("werkzeug/utils.py", {"send_file", "send_from_directory"})


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Address]]:
    with (
        gunicorn("tests.flask.fidelity.application:app") as peer,
        hypercorn(asgi(create_app())) as threads,
        hypercorn(asgi(create_app(), views="loop")) as loop,
    ):
        yield {"gunicorn": peer, "threads": threads, "loop": loop}


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_a_request_is_answered_as_gunicorn_does(name: str, servers: dict[str, Address]) -> None:
    expected = ask(servers["gunicorn"], CASES[name])
    for views in ("threads", "loop"):
        assert ask(servers[views], CASES[name]) == expected, views


def test_an_application_below_a_path_is_answered_as_gunicorn_does() -> None:
    targets = (
        "/mount",
        "/mount/",
        "/mount/environ/a%20b",
        "/mount/seen/%C3%BC?q",
        "/mount/no-slash",
        "/mount/give/url",
    )
    with (
        gunicorn("tests.flask.fidelity.application:app", SCRIPT_NAME="/mount") as peer,
        hypercorn(asgi(create_app()), root_path="/mount") as shim,
    ):
        for target in targets:
            request = f"GET {target} HTTP/1.1\r\nHost: example.test\r\n\r\n".encode()
            assert ask(shim, request) == ask(peer, request), target


def test_there_are_enough_of_them() -> None:
    assert len(CASES) - len(DIFFERENT) >= 200
