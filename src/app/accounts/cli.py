"""``quart --app app.asgi:app users create|promote|list``."""

from __future__ import annotations

import click
from sqlalchemy import select

from decant.quart.cli import AppGroup

from ..extensions import db
from ..models import User
from ..web.forms import Invalid
from . import service

__all__ = ["users"]

users = AppGroup("users", help="Accounts: create, promote, list.")


@users.command("create")  # type: ignore[untyped-decorator]
@click.argument("username")
@click.option("--admin", is_flag=True, help="Make it an administrator's.")
@click.password_option(help="Asked for when not given.")
async def create(username: str, admin: bool, password: str) -> None:
    """Make an account called USERNAME."""
    try:
        user = await service.register(username, password, is_admin=admin)
    except Invalid as invalid:
        raise click.ClickException(" ".join(invalid.errors.values())) from None
    click.echo(f"created {'administrator' if admin else 'user'} {user.username}")


@users.command("promote")  # type: ignore[untyped-decorator]
@click.argument("username")
@click.option("--revoke", is_flag=True, help="Take the rights away again.")
async def promote(username: str, revoke: bool) -> None:
    """Make USERNAME an administrator."""
    user = await service.by_name(username)
    if user is None:
        raise click.ClickException(f"there is no user {username!r}")
    user.is_admin = not revoke
    await db.session.commit()
    click.echo(f"{user.username} is {'no longer' if revoke else 'now'} an administrator")


@users.command("list")  # type: ignore[untyped-decorator]
async def list_users() -> None:
    """List the accounts, one a line: name, rights, when created."""
    for user in await db.session.scalars(select(User).order_by(User.id)):
        rights = "admin" if user.is_admin else "user"
        click.echo(f"{user.username}\t{rights}\t{user.created_at:%Y-%m-%d}")
