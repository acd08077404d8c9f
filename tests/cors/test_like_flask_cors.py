"""Quart and Flask with ``decant.cors`` answer as Flask with Flask-CORS: the same requests to each, for each option."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from .peers import OURS, answers, build, reference

A, B, EVIL = "http://a.example", "https://b.example:8443", "http://evil.example"


def _requests() -> list[Any]:
    asked: list[Any] = []
    for path in ("/", "/api/users", "/api/users/7", "/api/%C3%9Cmlaut", "/nowhere", "/gone", "/limited", "/boom"):
        asked += [("GET", path, headers) for headers in ({}, {"Origin": A}, {"Origin": A.upper()}, {"Origin": EVIL})]
    asked += [("GET", path, {"Origin": B}) for path in ("/own", "/varies", "/api/users?q=%2F")]
    asked += [("HEAD", "/", {"Origin": A}), ("PATCH", "/", {"Origin": A}), ("POST", "/echo", {"Origin": A})]
    for path in ("/", "/api/users", "/api/users/7", "/nowhere"):
        for origin in (A, B, EVIL):
            for method in ("GET", "put", "TRACE"):
                asked.append(("OPTIONS", path, {"Origin": origin, "Access-Control-Request-Method": method}))
    preflight = {"Origin": A, "Access-Control-Request-Method": "POST"}
    asked += [
        ("OPTIONS", "/", {}),
        ("OPTIONS", "/", {"Origin": A}),
        ("OPTIONS", "/", {"Access-Control-Request-Method": "GET"}),
        ("OPTIONS", "/", {**preflight, "Access-Control-Request-Headers": "X-Two, content-type ,X-One"}),
        ("OPTIONS", "/", {**preflight, "Access-Control-Request-Headers": "X-Unheard"}),
        ("OPTIONS", "/", {**preflight, "Access-Control-Request-Private-Network": "true"}),
        ("OPTIONS", "/", {**preflight, "Access-Control-Request-Private-Network": "1"}),
        ("GET", "/", {"Origin": A, "Access-Control-Request-Private-Network": "true"}),
    ]
    return asked


REQUESTS = _requests()


def row(row: str, *options: dict[str, Any], name: str) -> Any:
    return pytest.param(*options, marks=pytest.mark.parity("cors", row), id=name)


RESOURCES = (
    'resources: str / compiled regex / list / dict{pattern: options}; ValueError "Unexpected value for resources'
    ' argument."'
)
ORIGINS = "origins: str / regex / iterable (matched case-insensitively; chars *\\]?$^[]() => regex)"  # as in the table
CASES = [
    row("CORS(app=None, **options), init_app(app, **options)", {}, {}, name="defaults"),
    row(RESOURCES, {"resources": "/api/users"}, {}, name="a path"),
    row(RESOURCES, {"resources": r"/api/*"}, {}, name="a regex as text"),
    row(RESOURCES, {"resources": "*"}, {}, name="a star"),
    row(RESOURCES, {"resources": re.compile(r"/api/users/\d+$")}, {}, name="a compiled regex"),
    row(RESOURCES, {"resources": ["/api/users", re.compile("/gone"), "/nowh[e]re"]}, {}, name="a list"),
    row(RESOURCES, {"resources": "/api/Ümlaut"}, {}, name="a path that is not ASCII"),
    row(RESOURCES, {"resources": "/API/users"}, {}, name="paths have a case"),
    row(
        RESOURCES,
        {
            "resources": {
                r"/*": {"origins": B, "max_age": 1},
                r"/api/*": {"origins": [A, B], "max_age": 2},
                re.compile(r"/api/.*/\d+"): {"origins": re.compile(r"http://.*"), "max_age": 3},
                "/api/users": {"origins": A, "max_age": 4},
            },
            "expose_headers": ["X-All"],
        },
        {"CORS_METHODS": ["GET", "PUT"]},
        name="a dictionary, sorted",
    ),
    row(ORIGINS, {"origins": A}, {}, name="one origin"),
    row(ORIGINS, {"origins": [B, A]}, {}, name="origins"),
    row(ORIGINS, {"origins": r"https?://.*\.example(:\d+)?$"}, {}, name="a regex of origins"),
    row(ORIGINS, {"origins": re.compile(r"http://A\.", re.I)}, {}, name="a compiled regex of origins"),
    row(ORIGINS, {"origins": [re.compile("http://A"), B, "http://evil[.]"]}, {}, name="origins of every kind"),
    row(ORIGINS, {"origins": re.compile(".*")}, {}, name="a compiled regex of everything"),
    row(ORIGINS, {"origins": []}, {}, name="no origin"),
    row(ORIGINS, {"origins": {A, "*"}}, {}, name="a star among origins"),
    row("methods: str / iterable", {"methods": "get"}, {}, name="one method"),
    row("methods: str / iterable", {"methods": ["put", "GET"]}, {}, name="methods"),
    row("methods: str / iterable", {"methods": None}, {}, name="no method"),
    row("allow_headers: str / regex / iterable, case-insensitive", {"allow_headers": "X-ONE"}, {}, name="a header"),
    row(
        "allow_headers: str / regex / iterable, case-insensitive",
        {"allow_headers": ["content-type", re.compile("X-T")]},
        {},
        name="headers",
    ),
    row(
        "allow_headers: str / regex / iterable, case-insensitive",
        {"allow_headers": r"x-(one|two)$"},
        {},
        name="a regex of headers",
    ),
    row("expose_headers", {"expose_headers": "X-Total"}, {}, name="exposed"),
    row("expose_headers", {"expose_headers": ["X-Total", "ETag"]}, {}, name="exposed list"),
    row("supports_credentials", {"supports_credentials": True}, {}, name="credentials"),
    row("supports_credentials", {"supports_credentials": True, "origins": [A, B]}, {}, name="credentials of some"),
    row("max_age: timedelta / int / str / None", {"max_age": timedelta(minutes=2.5)}, {}, name="age as timedelta"),
    row("max_age: timedelta / int / str / None", {"max_age": 600}, {}, name="age as int"),
    row("max_age: timedelta / int / str / None", {"max_age": "601"}, {}, name="age as text"),
    row("send_wildcard", {"send_wildcard": True}, {}, name="wildcard"),
    row("send_wildcard", {"send_wildcard": True, "origins": [A]}, {}, name="no wildcard for some origins"),
    row("vary_header", {"vary_header": False, "origins": [A, B]}, {}, name="no Vary"),
    row("vary_header", {"origins": [A, B]}, {}, name="Vary"),
    row("always_send", {"always_send": False}, {}, name="only when asked"),
    row("always_send", {"always_send": False, "origins": [A, B]}, {}, name="only when asked by some"),
    row("intercept_exceptions", {"intercept_exceptions": False}, {}, name="no interception"),
    row("allow_private_network", {"allow_private_network": True}, {}, name="private network"),
    row(
        "CORS(app=None, **options), init_app(app, **options)",
        {},
        {
            "CORS_ORIGINS": [A],
            "CORS_METHODS": ["GET", "PUT"],
            "CORS_ALLOW_HEADERS": "X-One",
            "CORS_EXPOSE_HEADERS": "X-Total",
            "CORS_SUPPORTS_CREDENTIALS": True,
            "CORS_MAX_AGE": 5,
            "CORS_VARY_HEADER": None,
            "CORS_RESOURCES": r"/api/*",
            "CORS_ALWAYS_SEND": False,
            "CORS_ALLOW_PRIVATE_NETWORK": True,
        },
        name="configuration",
    ),
    row(
        "CORS(app=None, **options), init_app(app, **options)",
        {"origins": B, "max_age": 1},
        {"CORS_ORIGINS": A, "CORS_MAX_AGE": 2, "CORS_EXPOSE_HEADERS": "X-Total"},
        name="arguments before configuration",
    ),
]


@pytest.mark.parity("cors", "Response headers")
@pytest.mark.parametrize(("options", "config"), CASES)
async def test_an_application_answers_as_with_flask_cors(options: dict[str, Any], config: dict[str, Any]) -> None:
    """Each option, on errors, unknown paths and preflight requests too, gives the headers that Flask-CORS gives."""

    def set_up(app: Any, cors: Any, _: Any) -> None:
        cors(app, **options)

    expected = await reference(set_up, REQUESTS, config)
    for kind in OURS:
        assert (kind, await answers(build(kind, set_up, config), REQUESTS)) == (kind, expected)


@pytest.mark.parity("cors", "CORS(app=None, **options), init_app(app, **options)")
@pytest.mark.parametrize("kind", OURS)
async def test_what_init_app_is_told_wins_and_rules_may_be_made_twice(kind: str) -> None:
    """A resource's options win over ``init_app``'s, these over the constructor's; the later ``CORS`` is asked first."""

    def set_up(app: Any, cors: Any, _: Any) -> None:
        first = cors(origins=A, expose_headers="X-Constructor", max_age=1)
        first.init_app(app, resources={"/api/users": {"max_age": 3}, "/": {}}, max_age=2, origins=[A, B])
        cors(app, resources=["/api/users/7", "/"], origins=B)

    ours = build(kind, set_up, {"CORS_MAX_AGE": 9})
    assert await answers(ours, REQUESTS) == await reference(set_up, REQUESTS, {"CORS_MAX_AGE": 9})
