"""Flask-Limiter's interface, on Quart: each promise that does not depend on the storage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import quart
from limits.errors import ConfigurationError
from quart.views import MethodView
from werkzeug.http import parse_date

from decant.errors import ConfigError
from decant.limiter import (
    ApplicationLimit,
    ExemptionScope,
    HeaderNames,
    Limit,
    Limiter,
    MetaLimit,
    RateLimitExceeded,
    RequestLimit,
    RouteLimit,
)
from decant.limiter.constants import ConfigVars
from tests.limiter.asking import statuses

Make = Callable[..., Any]


@pytest.fixture
def storage_uri() -> str:
    return "memory://"


def row(*names: str) -> Callable[[Any], Any]:
    def mark(test: Any) -> Any:
        for name in names:
            test = pytest.mark.parity("limiter", name)(test)
        return test

    return mark


def plain(app: Any, path: str = "/", name: str = "index", *decorators: Any) -> None:
    async def view() -> str:
        return "ok"

    view.__name__ = view.__qualname__ = name
    decorated: Any = view
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    app.add_url_rule(path, name, decorated, methods=["GET", "POST"])


def blueprint_of(name: str) -> quart.Blueprint:
    return quart.Blueprint(name, __name__, url_prefix=f"/{name[0]}", root_path="/")


@row("default_limits", "RATELIMIT_DEFAULT")
@pytest.mark.parametrize("options", [{"default_limits": ["2/day", lambda: "5/hour"]}, {"RATELIMIT_DEFAULT": "2/day"}])
async def test_default_limits_apply_to_each_route_without_limits_of_its_own(limited: Make, options: Any) -> None:
    app, limiter = limited(**options)
    plain(app, "/a", "a")
    plain(app, "/b", "b")
    plain(app, "/own", "own", limiter.limit("3/day"))
    plain(app, "/both", "both", limiter.limit("3/day", override_defaults=False))
    client = app.test_client()
    for path, passing in (("/a", 2), ("/b", 2), ("/own", 3), ("/both", 2)):
        assert await statuses(client, path, 4) == [200] * passing + [429] * (4 - passing), path


@row("application_limits", "ApplicationLimit", "RATELIMIT_APPLICATION")
@pytest.mark.parametrize(
    "options",
    [
        {"application_limits": ["3/day"]},
        {"application_limits": [ApplicationLimit(limit_provider="3/day")]},
        {"RATELIMIT_APPLICATION": "3/day"},
    ],
)
async def test_application_limits_are_shared_by_all_routes(limited: Make, options: Any) -> None:
    app, limiter = limited(**options)
    plain(app, "/a", "a")
    plain(app, "/b", "b", limiter.limit("2/day"))
    client = app.test_client()
    assert await statuses(client, "/b", 2) == [200, 200]
    assert await statuses(client, "/a", 2) == [200, 429]
    assert await statuses(client, "/missing", 2) == [404, 404], "what is not routed is not limited"


@row(
    "default_limits_per_method",
    "default_limits_exempt_when",
    "default_limits_deduct_when",
    "default_limits_cost",
    "application_limits_per_method",
    "application_limits_exempt_when",
    "application_limits_deduct_when",
    "application_limits_cost",
    "RATELIMIT_DEFAULTS_PER_METHOD",
    "RATELIMIT_APPLICATION_PER_METHOD",
)
@pytest.mark.parametrize("kind", ["default", "application"])
@pytest.mark.parametrize("how", ["argument", "configuration"])
async def test_default_and_application_limits_have_options(limited: Make, kind: str, how: str) -> None:
    """per_method, exempt_when, deduct_when and cost, as arguments and as configuration."""
    exempt = deducted = False

    def options(**given: Any) -> dict[str, Any]:
        if how == "argument":
            return {f"{kind}_limits": ["4/day"], **{f"{kind}_limits_{name}": value for name, value in given.items()}}
        base = "RATELIMIT_DEFAULT" if kind == "default" else "RATELIMIT_APPLICATION"
        plural = "RATELIMIT_DEFAULTS" if kind == "default" else "RATELIMIT_APPLICATION"
        return {base: "4/day", **{f"{plural}_{name.upper()}": value for name, value in given.items()}}

    app, _ = limited(**options(cost=lambda: 2, exempt_when=lambda: exempt))
    plain(app)
    client = app.test_client()
    assert await statuses(client, "/", 3) == [200, 200, 429]
    exempt = True
    assert await statuses(client, "/", 3) == [200] * 3

    app, _ = limited(**options(per_method=True))
    plain(app)
    client = app.test_client()
    assert await statuses(client, "/", 5) == [200] * 4 + [429]
    assert (await client.post("/")).status_code == 200

    app, _ = limited(**options(deduct_when=lambda response: deducted))
    plain(app)
    client = app.test_client()
    assert await statuses(client, "/", 9) == [200] * 9
    deducted = True
    assert await statuses(client, "/", 5) == [200] * 4 + [429]


@row("headers_enabled", "Response headers")
async def test_headers_tell_the_limit(limited: Make) -> None:
    """X-RateLimit-Limit, -Remaining, -Reset and Retry-After, on each response, also on a 429."""
    app, limiter = limited(headers_enabled=True)
    plain(app, "/", "index", limiter.limit("1/minute"))
    client = app.test_client()
    started = time.time()
    for status in (200, 429):
        asked = time.time()
        response = await client.get("/")
        headers, answered = response.headers, time.time()
        found = (response.status_code, headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"])
        assert found == (status, "1", "0")
        reset = int(headers["X-RateLimit-Reset"])
        assert int(started) + 60 <= reset <= answered + 61
        assert int(reset - answered) <= int(headers["Retry-After"]) <= reset - asked


@row("RATELIMIT_HEADERS_ENABLED", "RATELIMIT_HEADER_LIMIT", "RATELIMIT_HEADER_RETRY_AFTER_VALUE")
@row("header_name_mapping", "retry_after", "HeaderNames")
@pytest.mark.parametrize("options", [{"RATELIMIT_HEADER_RETRY_AFTER_VALUE": "http-date"}, {"retry_after": "http-date"}])
async def test_headers_have_the_names_and_the_form_that_are_configured(limited: Make, options: Any) -> None:
    """Names from the argument win over those of the configuration; Retry-After may be a date."""
    app, limiter = limited(
        RATELIMIT_HEADERS_ENABLED=True,
        RATELIMIT_HEADER_LIMIT="X-Limit",
        RATELIMIT_HEADER_REMAINING="X-Remaining",
        RATELIMIT_HEADER_RESET="X-Reset",
        RATELIMIT_HEADER_RETRY_AFTER="X-Retry",
        header_name_mapping={HeaderNames.LIMIT: "X-Mine"},
        **options,
    )
    plain(app, "/", "index", limiter.limit("2/minute"))
    headers = (await app.test_client().get("/")).headers
    assert (headers["X-Mine"], headers["X-Remaining"]) == ("2", "1")
    date = parse_date(headers["X-Retry"])
    assert date is not None
    assert int(date.timestamp()) == int(headers["X-Reset"])
    assert not {"X-RateLimit-Limit", "X-Limit", "Retry-After"} & set(headers)


@pytest.mark.parametrize(("existing", "kept"), [("7200", True), ("5", False), ("date", True), ("soon", False)])
@row("Response headers")
async def test_a_later_retry_after_is_kept(limited: Make, existing: str, kept: bool) -> None:
    """In seconds or as a date, whatever the machine's time zone."""
    app, limiter = limited(headers_enabled=True)
    value = (
        time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 7200)) if existing == "date" else existing
    )

    @app.get("/")
    @limiter.limit("2/minute")
    async def index() -> Any:
        return "ok", {"Retry-After": value}

    seconds = int((await app.test_client().get("/")).headers["Retry-After"])
    assert (7190 < seconds <= 7200) if kept else (55 < seconds <= 60)


async def test_without_headers_enabled_there_are_none(limited: Make) -> None:
    app, limiter = limited()
    plain(app, "/", "index", limiter.limit("1/minute"))
    client = app.test_client()
    await client.get("/")
    headers = (await client.get("/")).headers
    assert not [name for name, _ in headers if name.lower().startswith(("x-ratelimit", "retry"))]


@row("RateLimitExceeded", "error_message")
async def test_a_breach_is_an_http_error_that_tells_which(limited: Make) -> None:
    """429, with the limit or the error message as its description, a text or a function, sync or async."""
    app, limiter = limited()

    async def message() -> str:
        return f"calm down at {quart.request.path}"

    plain(app, "/plain", "plain", limiter.limit("1/minute"))
    plain(app, "/text", "text", limiter.limit("1/minute", error_message="slowly"))
    plain(app, "/function", "function", limiter.limit("1/minute", error_message=message))

    @app.errorhandler(RateLimitExceeded)
    async def tell(error: RateLimitExceeded) -> Any:
        return f"{error.limit.limit}: {error.description}", error.code

    client = app.test_client()
    for path, text in (("/plain", "1 per 1 minute"), ("/text", "slowly"), ("/function", "calm down at /function")):
        await client.get(path)
        response = await client.get(path)
        assert (response.status_code, await response.get_data(as_text=True)) == (429, f"1 per 1 minute: {text}")


@row("on_breach", "RATELIMIT_ON_BREACH_CALLBACK")
async def test_on_breach_is_told_and_may_answer(limited: Make) -> None:
    """The limiter's and the limit's own; the last response is the answer; other values are ignored."""
    told: list[Any] = []

    async def log(limit: RequestLimit) -> None:
        told.append(("log", limit.key, limit.breached))

    def answer(limit: RequestLimit) -> Any:
        told.append(("answer", limit.remaining))
        return quart.Response("calm down", status=420)

    app, limiter = limited(key_func=lambda: "me", RATELIMIT_ON_BREACH_CALLBACK=log)
    plain(app, "/a", "a", limiter.limit("1/minute"))
    plain(app, "/b", "b", limiter.limit("1/minute", on_breach=answer))
    client = app.test_client()
    assert await statuses(client, "/a", 2) == [200, 429]
    assert await statuses(client, "/b", 2) == [200, 420]
    assert told == [("log", "LIMITER/me/a/1/1/minute", True), ("log", "LIMITER/me/b/1/1/minute", True), ("answer", 0)]


@row("fail_on_first_breach", "RATELIMIT_FAIL_ON_FIRST_BREACH")
@pytest.mark.parametrize("option", ["fail_on_first_breach", "RATELIMIT_FAIL_ON_FIRST_BREACH"])
@pytest.mark.parametrize("first", [True, False])
async def test_fail_on_first_breach(limited: Make, first: bool, option: str) -> None:
    """Without it, all limits are looked at, and on_breach hears of each that is breached."""
    breached: list[str] = []
    app, limiter = limited(on_breach=lambda limit: breached.append(str(limit.limit)), **{option: first})
    plain(app, "/", "index", limiter.limit("1/minute; 1/hour; 5/day"))

    @app.after_request
    async def count(response: Any) -> Any:
        response.headers["X-Count"] = str(len(limiter.current_limits))
        return response

    client = app.test_client()
    await client.get("/")
    response = await client.get("/")
    assert response.status_code == 429
    assert breached == (["1 per 1 minute"] if first else ["1 per 1 minute", "1 per 1 hour"])
    assert response.headers["X-Count"] == ("1" if first else "3")


@row("meta_limits", "MetaLimit", "on_meta_breach")
async def test_meta_limits_count_breaches(limited: Make) -> None:
    """Who breaches limits too often is denied everything, and the callback may answer."""
    app, limiter = limited(
        key_func=lambda: quart.request.args["who"],
        meta_limits=["2/day"],
        on_meta_breach=lambda limit: quart.Response(f"banned: {limit.limit}", status=403),
    )
    plain(app, "/a", "a", limiter.limit("1/minute"))
    plain(app, "/b", "b", limiter.limit("9/minute"))
    plain(app, "/free", "free")
    client = app.test_client()
    assert await statuses(client, "/a?who=me", 4) == [200, 429, 429, 403]
    assert await statuses(client, "/b?who=me", 1) == [403]
    assert await statuses(client, "/b?who=you", 1) == [200]
    assert await (await client.get("/b?who=me")).get_data(as_text=True) == "banned: 2 per 1 day"


async def test_a_limit_has_meta_limits_of_its_own(limited: Make) -> None:
    """Only its own breaches count."""
    app, limiter = limited()
    plain(app, "/a", "a", limiter.limit("1/minute", meta_limits=[MetaLimit(limit_provider="1/day"), "9/day"]))
    plain(app, "/b", "b", limiter.limit("1/minute"))
    client = app.test_client()
    assert await statuses(client, "/b", 4) == [200, 429, 429, 429]
    assert await statuses(client, "/a", 2) == [200, 429]
    assert limiter is not None
    breach = await client.get("/a")
    assert "1 per 1 day" in await breach.get_data(as_text=True)


@row("key_prefix", "RATELIMIT_KEY_PREFIX")
async def test_a_prefix_keeps_applications_apart(limited: Make) -> None:
    app, limiter = limited(key_func=lambda: "me", RATELIMIT_KEY_PREFIX="shop")
    plain(app, "/", "index", limiter.limit("5/minute"))

    @app.after_request
    async def tell(response: Any) -> Any:
        response.headers["X-Key"] = limiter.current_limit.key
        return response

    assert (await app.test_client().get("/")).headers["X-Key"] == "LIMITER/shop/me/index/5/1/minute"


@row("request_identifier", "identify_request()")
async def test_a_request_is_known_by_what_identifies_it(limited: Make) -> None:
    """By default the endpoint; limits with the same identity count together."""
    app, limiter = limited(request_identifier=lambda: quart.request.endpoint.partition("_")[0])
    plain(app, "/1", "a", limiter.limit("2/minute"))
    plain(app, "/2", "a_too", limiter.limit("2/minute"))

    @app.get("/who")
    async def who() -> str:
        return await limiter.identify_request()

    client = app.test_client()
    assert await statuses(client, "/1", 1) + await statuses(client, "/2", 2) == [200, 200, 429]
    assert await (await client.get("/who")).get_data(as_text=True) == "who"


@row("enabled", "RATELIMIT_ENABLED")
async def test_a_limiter_may_be_disabled(limited: Make) -> None:
    """From the start, by argument or configuration, or later."""
    for options in ({"enabled": False}, {"RATELIMIT_ENABLED": False}):
        app, limiter = limited(**options)
        plain(app, "/", "index", limiter.limit("1/minute"))
        assert await statuses(app.test_client(), "/", 3) == [200] * 3
        assert not limiter.enabled
    app, limiter = limited()
    plain(app, "/", "index", limiter.limit("1/minute"))
    client = app.test_client()
    assert await statuses(client, "/", 2) == [200, 429]
    limiter.enabled = False
    assert await statuses(client, "/", 2) == [200, 200]
    limiter.enabled = True
    assert await statuses(client, "/", 1) == [429]


@row("shared_limit(...)")
async def test_a_shared_limit_counts_where_its_scope_is_the_same(limited: Make) -> None:
    """The scope may be a function of the endpoint."""
    app, limiter = limited()
    shared = limiter.shared_limit("3/day", scope="both")
    plain(app, "/a", "a", shared)
    plain(app, "/b", "b", shared)
    by_name = limiter.shared_limit("2/day", scope=lambda endpoint: endpoint[0])
    for name in ("x1", "x2", "y1"):
        plain(app, f"/{name}", name, by_name)
    client = app.test_client()
    assert await statuses(client, "/a", 2) == [200, 200]
    assert await statuses(client, "/b", 2) == [200, 429]
    assert await statuses(client, "/x1", 1) + await statuses(client, "/x2", 2) == [200, 200, 429]
    assert await statuses(client, "/y1", 3) == [200, 200, 429]


@row("limit(...)")
async def test_a_scope_divides_what_a_route_counts(limited: Make) -> None:
    app, limiter = limited()
    plain(app, "/", "index", limiter.limit("1/day", scope=lambda endpoint: quart.request.args["tenant"]))
    client = app.test_client()
    assert await statuses(client, "/?tenant=a", 2) == [200, 429]
    assert await statuses(client, "/?tenant=b", 2) == [200, 429]


@row("limit(...)")
async def test_limits_by_method(limited: Make) -> None:
    """per_method counts each method for itself; methods limits only these, and defaults apply to the others."""
    app, limiter = limited(default_limits=["3/day"])
    plain(app, "/each", "each", limiter.limit("1/day", per_method=True))
    plain(app, "/post", "post", limiter.limit("1/day", methods=["POST"]))
    client = app.test_client()
    assert await statuses(client, "/each", 2) == [200, 429]
    assert (await client.post("/each")).status_code == 200
    assert [(await client.post("/post")).status_code for _ in range(2)] == [200, 429]
    assert await statuses(client, "/post", 4) == [200, 200, 200, 429]


@row("limit(...)")
async def test_exempt_when_leaves_a_limit_out(limited: Make) -> None:
    """A function, sync or async."""
    app, limiter = limited()

    async def admin() -> bool:
        return quart.request.args.get("who") == "admin"

    plain(app, "/", "index", limiter.limit("1/day", exempt_when=admin))
    client = app.test_client()
    assert await statuses(client, "/", 2) == [200, 429]
    assert await statuses(client, "/?who=admin", 2) == [200, 200]


@row("limit(...)")
async def test_deduct_when_counts_by_the_response(limited: Make) -> None:
    """Failed log-ins count, others do not; the headers tell what is left after it."""
    app, limiter = limited(headers_enabled=True)

    async def failed(response: Any) -> bool:
        return response.status_code == 401

    @app.get("/log-in")
    @limiter.limit("2/day", deduct_when=failed)
    async def log_in() -> Any:
        return "", int(quart.request.args["answer"])

    client = app.test_client()
    assert await statuses(client, "/log-in?answer=200", 5) == [200] * 5
    remaining = [(await client.get("/log-in?answer=401")).headers["X-RateLimit-Remaining"] for _ in range(2)]
    assert remaining == ["1", "0"]
    assert await statuses(client, "/log-in?answer=200", 2) == [429, 429]


@row("Limit strings")
async def test_limits_may_be_functions_asked_in_each_request(limited: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A string, several in one, a function; an empty one is no limit; a wrong one is logged and does not count."""
    app, limiter = limited()
    text = "2/day; 5 per 2 hours"
    plain(app, "/", "index", limiter.limit(lambda: text))
    plain(app, "/wrong", "wrong", limiter.limit("often"))
    client = app.test_client()
    assert await statuses(client, "/", 3) == [200, 200, 429]
    text = "4/day"
    assert await statuses(client, "/", 5) == [200] * 4 + [429]
    text = ""
    assert await statuses(client, "/", 2) == [200, 200]
    assert await statuses(client, "/wrong", 2) == [200, 200]
    assert "failed to load ratelimit for function" in caplog.text


@row("limit(...)")
async def test_limits_of_functions_that_are_no_views(limited: Make) -> None:
    """Async functions and synchronous ones are checked when they are called, by the view's endpoint."""
    app, limiter = limited(default_limits=["4/day"])

    @limiter.limit("2/day")
    async def send() -> str:
        return "sent"

    @limiter.limit("1/day")
    def count() -> str:
        return "counted"

    @app.get("/send")
    async def view() -> str:
        return await send()

    @app.get("/count")
    def sync_view() -> str:
        return count()

    client = app.test_client()
    assert await statuses(client, "/send", 3) == [200, 200, 429]
    assert await statuses(client, "/count", 2) == [200, 429]


@row("limit(...)")
async def test_limits_of_class_views_and_under_other_decorators(limited: Make) -> None:
    app, limiter = limited()
    order: list[str] = []

    class Items(MethodView):
        decorators = [limiter.limit("1/day")]

        async def get(self) -> str:
            return "items"

    def logged_in(view: Any) -> Any:
        from functools import wraps

        @wraps(view)
        async def inner() -> Any:
            order.append("logged in")
            return await view()

        return inner

    async def user() -> str:
        order.append("key")
        return "me"

    app.add_url_rule("/items", view_func=Items.as_view("items"))
    plain(app, "/mine", "mine", logged_in, limiter.limit("1/day", key_func=user))
    client = app.test_client()
    assert await statuses(client, "/items", 2) == [200, 429]
    assert await statuses(client, "/mine", 2) == [200, 429]
    assert order == ["logged in", "key"] * 2, "a decorator outside of the limit runs before it"


@row("Blueprint")
async def test_limits_and_exemptions_of_blueprints(limited: Make) -> None:
    """A blueprint's limits replace the default ones; nested ones inherit; exempt takes it all out."""
    app, limiter = limited(default_limits=["1/day"])
    parent, child, free, other = map(blueprint_of, ("parent", "child", "free", "other"))
    for blueprint in (parent, child, free, other):
        plain(blueprint, "/", "index")
    plain(parent, "/own", "own", limiter.limit("4/day"))
    limiter.limit("3/day")(parent)
    limiter.limit("2/day", override_defaults=False)(child)
    assert limiter.exempt(free) is free
    parent.register_blueprint(child)
    for blueprint in (parent, free, other):
        app.register_blueprint(blueprint)
    client = app.test_client()
    for path, passing in (("/p/", 3), ("/p/own", 4), ("/p/c/", 2), ("/f/", 5), ("/o/", 1)):
        assert await statuses(client, path, 5) == [200] * passing + [429] * (5 - passing), path


@row("exempt(obj=None,*,flags)", "ExemptionScope")
async def test_exempt(limited: Make) -> None:
    """From everything by default, or from what the flags name; with DESCENDENTS blueprints within are so, too; with
    ANCESTORS one is not limited as those around it are."""
    app, limiter = limited(default_limits=["1/day"], application_limits=["6/day"])
    plain(app, "/all", "all", limiter.exempt)
    plain(app, "/default", "default", limiter.exempt(flags=ExemptionScope.DEFAULT))
    plain(app, "/application", "application", limiter.exempt(flags=ExemptionScope.APPLICATION))
    outer, inner, family, child, only = map(blueprint_of, ("outer", "inner", "family", "child", "only"))
    plain(inner)
    for blueprint in (child, only):
        plain(blueprint)
        family.register_blueprint(blueprint)
    limiter.limit("2/day", override_defaults=False)(family)
    limiter.exempt(only, flags=ExemptionScope.APPLICATION | ExemptionScope.ANCESTORS)
    limiter.exempt(child, flags=ExemptionScope.APPLICATION | ExemptionScope.DEFAULT)
    app.register_blueprint(family)
    limiter.exempt(outer, flags=ExemptionScope.DEFAULT | ExemptionScope.APPLICATION | ExemptionScope.DESCENDENTS)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    client = app.test_client()
    assert await statuses(client, "/all", 8) == [200] * 8
    assert await statuses(client, "/application", 2) == [200, 429]
    assert await statuses(client, "/f/c/", 3) == [200, 200, 429], "the limit of the blueprint around it"
    assert await statuses(client, "/f/o/", 2) == [200, 429], "the default limit"
    assert await statuses(client, "/o/i/", 8) == [200] * 8
    assert await statuses(client, "/default", 8) == [200] * 6 + [429] * 2


@row("request_filter(fn)")
async def test_request_filters_leave_requests_out(limited: Make) -> None:
    app, limiter = limited(default_limits=["1/day"])

    @limiter.request_filter
    async def healthy() -> bool:
        return quart.request.headers.get("X-Probe") == "yes"

    plain(app)
    client = app.test_client()
    assert await statuses(client, "/", 3, headers={"X-Probe": "yes"}) == [200] * 3
    assert await statuses(client, "/", 2) == [200, 429]


@row("context manager")
async def test_a_limit_around_a_part_of_a_view(limited: Make) -> None:
    """async with, and with in synchronous code."""
    app, limiter = limited(default_limits=["9/day"])

    @app.get("/async")
    async def one() -> str:
        if "report" in quart.request.args:
            async with limiter.limit("2/day"):
                return "report"
        return "ok"

    @app.get("/sync")
    def two() -> str:
        with limiter.limit("1/day"):
            return "report"

    client = app.test_client()
    assert await statuses(client, "/async?report", 3) == [200, 200, 429]
    assert await statuses(client, "/async", 2) == [200, 200]
    assert await statuses(client, "/sync", 2) == [200, 429]


@row("context manager")
async def test_a_limit_around_a_part_of_a_view_is_of_its_own_request(limited: Make) -> None:
    """Many requests at the same place at once, each with a limit and a key of its own."""
    app, limiter = limited()
    together = asyncio.Barrier(5)

    @limiter.request_filter
    async def wait_for_the_others() -> bool:
        await together.wait()
        return False

    @app.get("/<who>")
    async def index(who: str) -> str:
        async with limiter.limit(f"{len(who)}/day", key_func=lambda: who):
            assert limiter.current_limit is not None
            return limiter.current_limit.key

    client = app.test_client()
    names = ["a", "bb", "ccc", "dddd", "eeeee"]
    responses = await asyncio.gather(*(client.get(f"/{who}") for who in names))
    keys = [await response.get_data(as_text=True) for response in responses]
    assert keys == [f"LIMITER/{who}/index/{len(who)}/1/day" for who in names]


@row("RouteLimit", "Limit")
async def test_limits_may_be_written_as_objects(limited: Make) -> None:
    """Limit among the defaults, with options of its own; RouteLimit as a decorator."""
    app, limiter = limited(
        default_limits=[Limit("1/day", key_function=lambda: quart.request.args["who"]), "3/day"],
    )
    plain(app, "/", "index")
    plain(app, "/route", "route", RouteLimit("2/day", limiter=limiter, override_defaults=True))
    client = app.test_client()
    assert await statuses(client, "/?who=a", 2) + await statuses(client, "/?who=b", 2) == [200, 429, 200, 429]
    assert await statuses(client, "/?who=c", 1) + await statuses(client, "/?who=d", 1) == [200, 429]
    assert await statuses(client, "/route", 3) == [200, 200, 429]


@row("init_app(app)", "app", "Limiter")
async def test_several_applications_and_several_limiters(limited: Make) -> None:
    """One limiter on two applications counts and is configured for each; two limiters on one both apply."""
    app, limiter = limited(RATELIMIT_DEFAULT="1/day")
    other, second = limited(RATELIMIT_DEFAULT="3/day", default_limits=["2/day"])
    limiter.init_app(other)
    assert other.extensions["limiter"] == {limiter, second}
    assert app.extensions["limiter"] == {limiter}
    plain(app)
    plain(other)
    assert await statuses(app.test_client(), "/", 2) == [200, 429]
    assert await statuses(other.test_client(), "/", 3) == [200, 200, 429]


@row("swallow_errors", "RATELIMIT_SWALLOW_ERRORS")
async def test_errors_of_the_limits_are_raised_or_swallowed(limited: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A key_func that fails: 500, or no limit and a log entry."""

    def fail() -> str:
        raise LookupError("no key")

    for swallow, status in ((False, 500), (True, 200)):
        app, limiter = limited(RATELIMIT_SWALLOW_ERRORS=swallow)
        plain(app, "/", "index", limiter.limit("1/day", key_func=fail))
        assert await statuses(app.test_client(), "/", 2) == [status] * 2
    assert "Swallowing error" in caplog.text


async def test_a_limit_without_a_key_is_skipped(limited: Make, caplog: pytest.LogCaptureFixture) -> None:
    """As Flask-Limiter does it, with an error in the log."""
    app, limiter = limited()
    plain(app, "/", "index", limiter.limit("1/day", key_func=lambda: ""))
    assert await statuses(app.test_client(), "/", 2) == [200, 200]
    assert "Empty value found in parameters" in caplog.text


async def test_an_automatic_options_answer_costs_nothing_of_the_views_limits(limited: Make) -> None:
    app, limiter = limited()
    plain(app, "/", "index", limiter.limit("1/day"))
    client = app.test_client()
    assert [(await client.options("/")).status_code for _ in range(3)] == [200] * 3
    assert await statuses(client, "/", 2) == [200, 429]


async def test_a_websocket_is_limited_at_its_handshake(limited: Make) -> None:
    """Not in Flask-Limiter, since Flask has none."""
    app, limiter = limited()

    @app.websocket("/ws")
    @limiter.limit("1/day")
    async def ws() -> None:
        await quart.websocket.send("hello")

    client = app.test_client()
    async with client.websocket("/ws") as socket:
        assert await socket.receive() == "hello"
    with pytest.raises(Exception) as caught:
        async with client.websocket("/ws") as socket:
            await socket.receive()
    assert caught.value.response.status_code == 429


@row("strategy", "storage_uri", "ConfigVars")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (ConfigVars.STRATEGY, "leaky-bucket"),
        (ConfigVars.STORAGE_URI, "nowhere"),
        (ConfigVars.STORAGE_URI, "carrier-pigeon://loft"),
        (ConfigVars.STORAGE_URI, "redis://localhost:port"),
        (ConfigVars.STORAGE_OPTIONS, {"health_check_interval": 30}),
        (ConfigVars.DEFAULT_LIMITS, "often"),
        (ConfigVars.APPLICATION_LIMITS, "10 per fortnight"),
        (ConfigVars.HEADER_RETRY_AFTER_VALUE, "minutes"),
        (ConfigVars.ON_STORAGE_ERROR, "panic"),
        (ConfigVars.TRUSTED_PROXIES, "everybody"),
        (ConfigVars.TRUSTED_PROXIES, -1),
    ],
)
async def test_a_wrong_value_stops_the_start(limited: Make, key: str, value: Any) -> None:
    """With the key, the value and what is allowed; wrong strategies and storages also as limits' own error."""
    options = {"RATELIMIT_STORAGE_URI": "redis://localhost"} if key == ConfigVars.STORAGE_OPTIONS else {}
    with pytest.raises(ConfigError, match=key) as caught:
        limited(**options, **{key: value})
    assert isinstance(caught.value, ConfigurationError) or key not in (ConfigVars.STRATEGY, ConfigVars.STORAGE_URI)


@row("storage_uri")
async def test_without_a_storage_it_says_that_it_counts_in_memory(limited: Make) -> None:
    with pytest.warns(UserWarning, match="RATELIMIT_STORAGE_URI"):
        app, _ = limited(RATELIMIT_STORAGE_URI=None, default_limits=["1/day"])
    plain(app)
    assert await statuses(app.test_client(), "/", 2) == [200, 429]


@row("storage_uri", "RATELIMIT_STORAGE_URI")
@pytest.mark.parametrize("how", ["RATELIMIT_STORAGE_URI", "REDIS_URL"])
@pytest.mark.parametrize("url", ["redis://localhost", "redis://:secret@[::1]/2", "rediss://db/0", "unix:///redis.sock"])
async def test_any_url_of_redis_will_do(limited: Make, how: str, url: str) -> None:
    """Without a port, and on a socket, too, for which Flask-Limiter wants a port, and valkey-py."""
    _, limiter = limited(**{"RATELIMIT_STORAGE_URI": None, how: url})
    assert (limiter.storage.redis.options.url, await limiter.storage.redis.aclose()) == (url, None)


@row("storage_options", "RATELIMIT_STORAGE_OPTIONS")
@pytest.mark.parametrize("how", ["storage_options", "RATELIMIT_STORAGE_OPTIONS"])
async def test_timeouts_of_redis_py_are_taken_and_not_used(limited: Make, how: str) -> None:
    """As Flask-Limiter's documentation has them; the warning says what bounds a command here."""
    with pytest.warns(UserWarning, match="socket_connect_timeout.*deadline_s") as warned:
        _, limiter = limited(
            RATELIMIT_STORAGE_URI="redis://localhost", **{how: {"socket_connect_timeout": 30, "pool_size": 3}}
        )
    assert warned[0].filename == __file__.replace("test_flask_limiters_api", "conftest")
    options = limiter.storage.redis.options
    assert (options.deadline_s, options.pool_size) == (30.0, 3)


async def test_old_forms_are_accepted_with_a_warning(limited: Make) -> None:
    """Limiter(app, key_func=…), of Flask-Limiter 2, and RATELIMIT_STORAGE_URL, of 1."""
    app, _ = limited()
    with pytest.warns(DeprecationWarning, match=r"Limiter\(key_func, app=app\)"):
        limiter = Limiter(app, key_func=lambda: "me", default_limits=["1 per day", "10 per hour"])
    assert limiter in app.extensions["limiter"]
    app.config.update(RATELIMIT_STORAGE_URI=None, RATELIMIT_STORAGE_URL="memory://")
    with pytest.warns(DeprecationWarning, match="RATELIMIT_STORAGE_URL"):
        Limiter(lambda: "me", app=app)
    with pytest.raises(TypeError, match="key_func"):
        Limiter()
