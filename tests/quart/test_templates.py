"""Templates of Flask applications are rendered as they are."""

from __future__ import annotations

import flask
import pytest

from decant.quart import Quart, render_template_string

FLASK = flask.Flask(__name__)
DAYS = [("Monday", 3), ("Tuesday", 7), ("Wednesday", 5)]
SOURCES = [
    "{{ days | map(attribute=1) | max }}",
    "{{ days | map(attribute=1) | min }}",
    "{{ days | map(attribute=0) | sort | join(' ') }}",
    "{{ days | map(attribute=1) | sort(reverse=true) | list }}",
    "{{ days | selectattr(1, 'gt', 3) | sort(attribute=1) | map('first') | join(' ') }}",
    "{{ days | rejectattr(1, 'gt', 100) | max(attribute=1) }}",
    "{% for pair in days | map(attribute=1) | batch(2, 'none') %}{{ pair }}{% endfor %}",
    "{% for name in days | map('first') | reverse %}{{ name }} {% endfor %}",
    "{{ days | max(attribute=1) }} {{ [] | max }} {{ [3, 1, 2] | sort }} {{ 'abc' | reverse }}",
]


@pytest.mark.parametrize("source", SOURCES)
async def test_filters_go_together_as_in_flask(app: Quart, source: str) -> None:
    with FLASK.app_context():
        expected = flask.render_template_string(source, days=DAYS)
    async with app.app_context():
        assert await render_template_string(source, days=DAYS) == expected
