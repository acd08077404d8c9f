"""The pages of accounts."""

from __future__ import annotations

from quart import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from ..web.forms import Invalid
from . import service, tokens
from .current import current_user, login, login_required, logout, require_user, safe_next
from .limits import limit_log_in, limit_password, limit_registering

__all__ = ["account_page", "accounts"]

accounts = Blueprint("accounts", __name__)


async def account_page(status: int = 200, **context: object) -> ResponseReturnValue:
    """The account's page, as another view answers with it."""
    user = await require_user()
    context = {"errors": {}, "values": {}, "tokens": await tokens.of_user(user), **context}
    return await render_template("accounts/account.html", **context), status


@accounts.get("/register")
async def register_page() -> ResponseReturnValue:
    if await current_user() is not None:
        return redirect(url_for("links.index"), 303)
    _open_or_403()
    return await render_template("accounts/register.html", errors={}, values={})


@accounts.post("/register")
@limit_registering
async def register() -> ResponseReturnValue:
    _open_or_403()
    form = await request.form
    username, password = form.get("username", ""), form.get("password", "")
    try:
        user = await service.register(username, password)
    except Invalid as invalid:
        page = await render_template("accounts/register.html", errors=invalid.errors, values={"username": username})
        return page, 422
    login(user)
    await flash(f"Welcome, {user.username}. Shorten your first link.", "success")
    return redirect(url_for("links.new_page"), 303)


def _open_or_403() -> None:
    if current_app.config["REGISTRATION"] != "open":
        abort(403, "Nobody can register here. Ask whoever runs this site for an account.")


@accounts.get("/login")
async def login_page() -> ResponseReturnValue:
    after = safe_next(request.args.get("next"))
    if await current_user() is not None:
        return redirect(after or url_for("links.index"), 303)
    return await render_template("accounts/login.html", errors={}, values={"next": after})


@accounts.post("/login")
@limit_log_in
async def log_in() -> ResponseReturnValue:
    form = await request.form
    username, after = form.get("username", ""), safe_next(form.get("next"))
    user = await service.authenticate(username, form.get("password", ""))
    if user is None:
        errors = {"": "The user name or the password is wrong."}
        values = {"username": username, "next": after}
        return await render_template("accounts/login.html", errors=errors, values=values), 422
    login(user)
    return redirect(after or url_for("links.index"), 303)


@accounts.post("/logout")
async def log_out() -> ResponseReturnValue:
    logout()
    await flash("You are logged out.", "success")
    return redirect(url_for("pages.front"), 303)


@accounts.post("/account/logout-everywhere")
@login_required
async def log_out_everywhere() -> ResponseReturnValue:
    await service.end_sessions(await require_user())
    logout()
    await flash("You are logged out on every device, on this one too.", "success")
    return redirect(url_for("accounts.login_page"), 303)


@accounts.get("/account")
@login_required
async def account() -> ResponseReturnValue:
    return await account_page()


@accounts.post("/account/password")
@login_required
@limit_password
async def change_password() -> ResponseReturnValue:
    user, form = await require_user(), await request.form
    try:
        await service.change_password(user, form.get("current_password", ""), form.get("new_password", ""))
    except Invalid as invalid:
        return await account_page(422, errors=invalid.errors)
    login(user)
    await flash("The password is changed. Every other device is logged out.", "success")
    return redirect(url_for("accounts.account"), 303)


@accounts.post("/account/tokens")
@login_required
async def create_token() -> ResponseReturnValue:
    user, name = await require_user(), (await request.form).get("name", "")
    try:
        token, secret = await tokens.create(user, name)
    except Invalid as invalid:
        return await account_page(422, errors=invalid.errors, values={"name": name})
    # No redirect: the secret is in this one answer and nowhere else, not even in the session's cookie.
    return await account_page(201, new_token=token, secret=secret)


@accounts.post("/account/tokens/<id63:identity>/revoke")
@login_required
async def revoke_token(identity: int) -> ResponseReturnValue:
    if not await tokens.revoke(await require_user(), identity):
        abort(404)
    await flash("The token is revoked.", "success")
    return redirect(url_for("accounts.account"), 303)
