"""The click group ``limiter``, with the commands and options of Flask-Limiter's."""

from __future__ import annotations

import click

__all__ = ["cli"]


@click.group("limiter")
def cli() -> None:
    """Rate limits."""
