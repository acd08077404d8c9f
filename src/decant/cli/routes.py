"""``decant routes``: what an application routes, which half of it answers, and how often."""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import CommandError
from .serving.applications import before_import
from .serving.failures import in_a_line
from .serving.options import Options
from .serving.targets import Target

if TYPE_CHECKING:
    from ..flask.listing import Route

__all__ = ["routes"]

_TIMEOUT_S: Final = 10.0
_MOST_BYTES: Final = 50_000_000
_SAMPLE: Final = re.compile(r"^decant_requests_total\{([^}]*)\} (\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPES: Final = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_COLUMNS: Final = ("methods", "rule", "endpoint", "half", "place", "hits")
Hits = Counter[tuple[str, str, str]]


@click.command()
@click.argument("target")
@click.option("--metrics", "urls", multiple=True, help="The metrics page of the running application; each process's.")
@click.option("--token", envvar="DECANT_METRICS_TOKEN", help="The page's bearer token, or DECANT_METRICS_TOKEN.")
@click.option("--views", type=click.Choice(["threads", "loop"]), default="threads", help="Of a Flask app not mounted.")
@click.option("--faces", is_flag=True, help="Exchange Flask's extensions for Decant's, as decant serve does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def routes(target: str, urls: tuple[str, ...], token: str | None, views: str, faces: bool, as_json: bool) -> None:
    """List the routes of TARGET: a Flask application, a Quart one, or one with both halves.

    For each: its methods, rule and endpoint, the half that answers it, where its view runs, and with --metrics how
    often its endpoint was asked for. TARGET is written as for decant serve.
    """
    hits: Hits | None = None
    if urls:
        hits = Counter()
        for url in urls:
            hits.update(_counted(_read(url, token)))
    before_import(Options(target, "TARGET", faces=faces))
    found = _listed(target, views, hits)
    if as_json:
        click.echo(json.dumps(_as_json(found, hits), indent=2, ensure_ascii=False))
    else:
        _show(found, hits)


def _listed(target: str, views: str, hits: Hits | None) -> list[Route]:
    wanted = Target.parse(target, "TARGET")
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = wanted.load()
    except CommandError:
        raise
    except (Exception, SystemExit) as error:
        raise CommandError(in_a_line(error, wanted.title)) from error
    from ..flask.listing import list_routes

    try:
        return list_routes(app, views, hits)
    except TypeError as error:
        raise CommandError(f"{wanted.title}: {error}") from error


class _Still(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for this server only."""

    def redirect_request(self, *args: Any) -> None:
        return None


def _read(url: str, token: str | None) -> str:
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--metrics {url!r} is no URL such as http://127.0.0.1:8000/metrics")
    headers = {"Accept": "text/plain"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https, as checked above
        with urllib.request.build_opener(_Still).open(asked, timeout=_TIMEOUT_S) as answer:
            return str(answer.read(_MOST_BYTES).decode())
    except urllib.error.HTTPError as error:
        error.close()
        hint = ": give --token" if error.code == 401 else ""
        raise CommandError(f"--metrics {url} answered {error.code} {error.reason}{hint}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise CommandError(f"--metrics {url} cannot be read: {reason}") from error


def _counted(text: str) -> Hits:
    """Requests by ``(half, endpoint, method)``, from the text format of Prometheus."""
    found: Hits = Counter()
    for labels, value in _SAMPLE.findall(text):
        named = {name: re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), raw) for name, raw in _LABEL.findall(labels)}
        found[named.get("half", ""), named.get("endpoint", ""), named.get("method", "")] += int(float(value))
    return found


def _still(found: Sequence[Route]) -> tuple[int, int]:
    """How many routes Flask answers, and of how many."""
    shown = [route for route in found if not route.hidden]
    return sum(route.half == "flask" for route in shown), len(shown)


def _requests(hits: Hits) -> dict[str, int]:
    totals = {"quart": 0, "flask": 0}
    for (half, _, _), count in hits.items():
        totals[half] = totals.get(half, 0) + count
    return totals


def _as_json(found: Sequence[Route], hits: Hits | None) -> dict[str, Any]:
    flask, total = _still(found)
    requests = None if hits is None else _requests(hits)
    return {"routes": [asdict(route) for route in found], "flask": flask, "total": total, "requests": requests}


def _show(found: Sequence[Route], hits: Hits | None) -> None:
    columns = _COLUMNS if hits is not None else _COLUMNS[:-1]
    rows = [columns, *(_row(route)[: len(columns)] for route in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    flask, total = _still(found)
    if hits is not None:
        requests = _requests(hits)
        click.echo(f"{requests['flask']} of {sum(requests.values())} requests were answered by Flask")
    click.echo(f"{flask} of {total} routes still answered by Flask")


def _row(route: Route) -> tuple[str, ...]:
    other = "quart" if route.half == "flask" else "flask"
    half = f"{route.half}, hidden by {other}" if route.hidden else route.half
    hits = "" if route.hits is None else str(route.hits)
    return ",".join(route.methods), route.rule, route.endpoint, half, route.place, hits
