"""The click group ``limiter``, with the commands and options of Flask-Limiter's, in plain text."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click
from werkzeug.exceptions import HTTPException

from ..bridge import wait
from ..context import current_app, has_app, on_quart
from ..faces import twin_of
from .constants import ConfigVars, ExemptionScope, HeaderNames
from .definitions import RuntimeLimit
from .enforcing import is_away
from .registry import Place
from .settings import AppState
from .storage import Claim
from .util import get_qualified_name

if TYPE_CHECKING:
    from .extension import Limiter

__all__ = ["cli"]

Route = tuple[Any, Place, list[RuntimeLimit]]


@click.group("limiter")
def cli() -> None:
    """Show the rate limits, and clear their counts."""


def _app() -> Any:
    """The current application, or the one that the command line names, Quart's or Flask's."""
    if has_app():
        return current_app()
    script_info: Any = click.get_current_context().obj
    return script_info.load_app()


@asynccontextmanager
async def _request(app: Any) -> AsyncIterator[None]:
    """The limits' functions are asked within a request, as they expect it."""
    if on_quart(app):
        async with app.test_request_context("/"):
            yield
    else:
        with app.test_request_context("/"):
            yield


def _run(work: Callable[[Any, Limiter], Awaitable[None]]) -> None:
    """For each limiter of the application."""
    app = _app()

    async def each() -> None:
        limiters = [twin_of(limiter) for limiter in app.extensions.get("limiter", ())]
        if not limiters:
            raise click.ClickException(f"No limiter is installed on {app.name}, or it is disabled")
        async with _request(app):
            for limiter in limiters:
                try:
                    await work(app, limiter)
                except Exception as error:
                    if not is_away(error, limiter.states[app].storage):
                        raise
                    raise click.ClickException(f"The storage does not answer: {error}") from error

    wait(each())


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--method", default=None, help="The method of the path, GET by default."),
        click.option("--path", default=None, help="Only the route of this path."),
        click.option("--endpoint", default=None, help="Only this endpoint."),
    ):
        command = option(command)
    return command


@cli.command("config")
def config() -> None:
    """Show the configuration."""

    async def show(app: Any, limiter: Limiter) -> None:
        for key, value in _settings(limiter.states[app]):
            click.echo(f"{key:<42} {value}")

    _run(show)


def _settings(state: AppState) -> Iterable[tuple[str, Any]]:
    yield ConfigVars.ENABLED, state.enabled
    yield ConfigVars.KEY_FUNC, get_qualified_name(state.key_func)
    yield ConfigVars.KEY_PREFIX, repr(state.key_prefix)
    yield ConfigVars.STRATEGY, state.strategy
    yield ConfigVars.STORAGE_URI, state.storage
    yield ConfigVars.ON_STORAGE_ERROR, state.on_storage_error
    yield ConfigVars.DENIED_CONSUMES, state.denied_consumes
    yield ConfigVars.FAIL_ON_FIRST_BREACH, state.fail_on_first_breach
    yield ConfigVars.SWALLOW_ERRORS, state.swallow_errors
    yield ConfigVars.ON_BREACH, get_qualified_name(state.on_breach) if state.on_breach else None
    for key, limits in (
        (ConfigVars.APPLICATION_LIMITS, state.application_limits),
        (ConfigVars.DEFAULT_LIMITS, state.default_limits),
        (ConfigVars.META_LIMITS, state.meta_limits),
        (ConfigVars.IN_MEMORY_FALLBACK, state.fallback_limits),
    ):
        yield key, ", ".join(str(limit.limit_provider) for limit in limits) or None
    yield ConfigVars.HEADERS_ENABLED, bool(state.headers)
    for name in HeaderNames if state.headers else ():
        yield getattr(ConfigVars, f"HEADER_{name.name}"), state.headers[name]  # type: ignore[index]
    yield ConfigVars.HEADER_RETRY_AFTER_VALUE, state.retry_after


@cli.command("limits")
@_filters
@click.option("--key", default=None, help="Test the limits for this key.")
@click.option("--watch/--no-watch", default=False, help="Show them again each second, until Ctrl-C.")
def limits(endpoint: str | None, path: str | None, method: str | None, key: str | None, watch: bool) -> None:
    """List the routes with their limits."""

    async def show(app: Any, limiter: Limiter) -> None:
        state = limiter.states[app]
        if not (endpoint or path) and state.application_limits:
            click.echo("application")
            await _show(state, await _application(app, limiter), key)
        for rule, place, found in await _routes(app, limiter, endpoint, path, method):
            exempt = limiter.registry.exemption(place)
            note = f"  (exempt: {', '.join(flag.name or '' for flag in ExemptionScope if flag in exempt)})"
            click.echo(f"{place.endpoint}: {rule.rule}{note if exempt else ''}")
            await _show(state, (rule, place, found), key)

    _run(show)
    while watch:
        time.sleep(1)
        click.clear()
        _run(show)


async def _show(state: AppState, route: Route, key: str | None) -> None:
    claims = await _claims(state, route, key or "")
    if key is None or not claims:
        for claim in claims:
            click.echo(f"    {claim.item}")
        return
    decision = await state.storage.decide(claims, state.strategy, stops=False)
    for claim, answer in zip(claims, decision.answers, strict=True):
        passes = "passes" if answer.passed else "is denied"
        seconds = max(0, round(answer.window.reset_time - time.time()))
        click.echo(f"    {claim.item}: {key} {passes}, {answer.window.remaining} remain, resets in {seconds} s")


@cli.command("clear")
@_filters
@click.option("--key", required=True, help="Whose counts are cleared.")
@click.option("-y", "yes", is_flag=True, help="Do not ask.")
def clear(endpoint: str | None, path: str | None, method: str | None, key: str, yes: bool) -> None:
    """Clear the counts of a key."""

    async def clear_counts(app: Any, limiter: Limiter) -> None:
        state = limiter.states[app]
        routes = await _routes(app, limiter, endpoint, path, method)
        if not (endpoint or path):
            routes.insert(0, await _application(app, limiter))
        for route in routes:
            for claim in await _claims(state, route, key):
                await limiter.limiter.clear(claim.item, *claim.args)
                click.echo(f"{route[1].endpoint}: {claim.item}: cleared")

    if yes or click.confirm(f"Clear the counts of {key}?"):
        _run(clear_counts)


# -- routes -----------------------------------------------------------------------------------------------------------


async def _application(app: Any, limiter: Limiter) -> Route:
    state = limiter.states[app]
    found = [one for limit in state.application_limits for one in await limit.resolve(state.key_func)]
    return None, Place(app, "application", None, "GET", ""), found


async def _routes(
    app: Any, limiter: Limiter, endpoint: str | None, path: str | None, method: str | None
) -> list[Route]:
    """The routes that the filters leave, by path."""
    endpoint = _matching(app, path, method) if path else endpoint
    if endpoint is not None and endpoint not in app.view_functions:
        raise click.ClickException(f"There is no endpoint {endpoint!r}: one of {', '.join(app.view_functions)}")
    routes: list[Route] = []
    for rule in sorted(app.url_map.iter_rules(endpoint), key=str):
        blueprint, _, name = rule.endpoint.rpartition(".")
        view = app.view_functions.get(rule.endpoint)
        if name == "static" or view is None:
            continue
        place = Place(app, rule.endpoint, blueprint or None, (method or "GET").upper(), get_qualified_name(view))
        general, own = await limiter.registry.of_view(limiter.states[app], place)
        routes.append((rule, place, [*general, *own]))
    return routes


def _matching(app: Any, path: str, method: str | None) -> str:
    try:
        found, _ = app.url_map.bind("localhost").match(path, method=(method or "GET").upper())
    except HTTPException as error:
        raise click.ClickException(f"No route answers {method or 'GET'} {path} ({error.code})") from None
    return str(found)


async def _claims(state: AppState, route: Route, key: str) -> list[Claim]:
    _, place, found = route
    prefix = (state.key_prefix,) if state.key_prefix else ()
    made: list[Claim] = []
    for limit in sorted(found, key=lambda x: x.limit):
        scope = await limit.scope_for(place.endpoint, place.endpoint, place.method)
        made.append(Claim(limit.limit, (*prefix, key, scope), role="test"))
    return made
