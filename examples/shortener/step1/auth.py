"""Logging in and out. Accounts are made and changed in the Flask half."""

from functools import cache

from flask_login import current_user, logout_user
from shortener.auth import TRIED, begin_session, safe_next, tried_account
from shortener.forms import LoginForm
from shortener.models import User
from shortener.services import configured
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from decant.bridge import in_thread
from decant.quart import Blueprint, current_app, flash, redirect, render_template, request, session, url_for

from .extensions import db, limiter

auth = Blueprint("auth", __name__)


@auth.get("/login")
async def login():
    after = safe_next(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(after or url_for("links.index"), 303)
    return await render_template("auth/login.html", form=LoginForm(data={"next": after}))


@auth.post("/login")
@limiter.shared_limit(configured("RATE_LOGIN_ADDRESS"), "log-in", error_message=TRIED)
@limiter.shared_limit(configured("RATE_LOGIN_ACCOUNT"), "password", key_func=tried_account, error_message=TRIED)
async def do_login():
    form = LoginForm()
    user = await find_by_password(form.name, form.password.data or "") if form.validate_on_submit() else None
    if user is None:
        form.username.errors = ["The user name or the password is wrong."]
        return await render_template("auth/login.html", form=form), 422
    begin_session(user)
    return redirect(safe_next(form.next.data) or url_for("links.index"), 303)


async def find_by_password(name, password):
    if len(password) > 1000:
        return None
    user = await db.session.scalar(select(User).where(User.username == name)) if name else None
    hashed = user.password_hash if user is not None else None
    right = await in_thread(is_right, hashed, password, current_app.config["PASSWORD_METHOD"])
    return user if right else None


def is_right(hashed, password, method):
    """In a thread: a tenth of a second on purpose, for a wrong name as for a wrong password."""
    return check_password_hash(hashed or nobodys(method), password) and hashed is not None


@cache
def nobodys(method):
    return generate_password_hash("nobody", method=method)


@auth.post("/logout")
async def logout():
    logout_user()
    session.clear()
    await flash("You are logged out.", "success")
    return redirect(url_for("main.front"), 303)
