"""flask --app shortener.wsgi init-db, and accounts."""

import click
from flask.cli import AppGroup
from flask_migrate import upgrade

from .extensions import db
from .models import User

users = AppGroup("users", help="Accounts: create, promote.")


def register(app):
    @app.cli.command("init-db")
    def init_db():
        """Bring the database up to date, as `flask db upgrade` does."""
        upgrade()
        click.echo("The tables are there.")

    app.cli.add_command(users)


@users.command("create")
@click.argument("username")
@click.option("--admin", is_flag=True)
@click.password_option()
def create(username, admin, password):
    """Make an account called USERNAME."""
    if User.query.filter_by(username=username.lower()).first() is not None:
        raise click.ClickException(f"The user name {username} is taken.")
    user = User(username=username.lower(), is_admin=admin)
    user.set_password(password)
    db.session.add(user)
    db.session.commit()
    click.echo(f"created {user.username}")


@users.command("promote")
@click.argument("username")
def promote(username):
    """Make USERNAME an administrator."""
    user = User.query.filter_by(username=username.lower()).first()
    if user is None:
        raise click.ClickException(f"There is no user {username}.")
    user.is_admin = True
    db.session.commit()
    click.echo(f"{user.username} is an administrator now")
