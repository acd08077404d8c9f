"""Accounts: registering, logging in and out, passwords, tokens."""

from urllib.parse import urlsplit

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, session, url_for
from flask_login import current_user, login_required, login_user, logout_user
from sqlalchemy.exc import IntegrityError
from werkzeug.security import check_password_hash, generate_password_hash

from .extensions import db, limiter, login_manager
from .forms import LoginForm, PasswordForm, RegisterForm, TokenForm
from .models import ApiToken, User
from .services import configured

auth = Blueprint("auth", __name__)
login_manager.login_view = "auth.login"
login_manager.login_message = None
TRIED = "Too many attempts. Wait a few minutes, then try again."
# What a wrong user name is compared with, so that it takes as long as a wrong password.
NOBODY = {}


@login_manager.unauthorized_handler
def send_to_login():
    after = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("auth.login", next=after), 303)


def safe_next(target):
    """A path of this site, or None: our log-in page leads nobody elsewhere."""
    if not target or len(target) > 2000 or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in target):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc else target


def begin_session(user):
    """Nothing of the session before is kept, least of all what somebody may have planted in it."""
    session.clear()
    session.permanent = True
    login_user(user)


def tried_account():
    return "account:" + request.form.get("username", "").strip().lower()[:64]


def own_account():
    return f"account:{current_user.username}"


@auth.get("/register")
def register():
    if current_user.is_authenticated:
        return redirect(url_for("links.index"), 303)
    registration_open_or_403()
    return render_template("auth/register.html", form=RegisterForm())


@auth.post("/register")
@limiter.limit(
    configured("RATE_REGISTER"), error_message="Too many accounts were made from your address. Try again later."
)
def do_register():
    registration_open_or_403()
    form = RegisterForm()
    if form.validate_on_submit():
        user = User(username=form.name, session_epoch=0)
        user.set_password(form.password.data)
        db.session.add(user)
        try:
            db.session.commit()
        except IntegrityError:  # somebody else was faster
            db.session.rollback()
            form.username.errors = [f"The user name {form.name} is taken. Choose another."]
        else:
            begin_session(user)
            flash(f"Welcome, {user.username}. Shorten your first link.", "success")
            return redirect(url_for("links.new"), 303)
    return render_template("auth/register.html", form=form), 422


def registration_open_or_403():
    if current_app.config["REGISTRATION"] != "open":
        abort(403, "Nobody can register here. Ask whoever runs this site for an account.")


@auth.get("/login")
def login():
    after = safe_next(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(after or url_for("links.index"), 303)
    return render_template("auth/login.html", form=LoginForm(data={"next": after}))


@auth.post("/login")
@limiter.shared_limit(configured("RATE_LOGIN_ADDRESS"), scope="log-in", error_message=TRIED)
@limiter.shared_limit(configured("RATE_LOGIN_ACCOUNT"), scope="password", key_func=tried_account, error_message=TRIED)
def do_login():
    form = LoginForm()
    user = find_by_password(form.name, form.password.data or "") if form.validate_on_submit() else None
    if user is None:
        form.username.errors = ["The user name or the password is wrong."]
        return render_template("auth/login.html", form=form), 422
    begin_session(user)
    return redirect(safe_next(form.next.data) or url_for("links.index"), 303)


def find_by_password(name, password):
    if len(password) > 1000:
        return None
    user = User.query.filter_by(username=name).first() if name else None
    if user is None:
        method = current_app.config["PASSWORD_METHOD"]
        if method not in NOBODY:
            NOBODY[method] = generate_password_hash("nobody", method=method)
        check_password_hash(NOBODY[method], password)
        return None
    return user if user.check_password(password) else None


@auth.post("/logout")
def logout():
    logout_user()
    session.clear()
    flash("You are logged out.", "success")
    return redirect(url_for("main.front"), 303)


@auth.get("/account")
@login_required
def account():
    return account_page()


def account_page(password_form=None, token_form=None, **more):
    password_form = password_form or PasswordForm(current_user, formdata=None)
    token_form = token_form or TokenForm(formdata=None)
    return render_template("auth/account.html", password_form=password_form, token_form=token_form, **more)


@auth.post("/account/password")
@login_required
@limiter.shared_limit(configured("RATE_LOGIN_ACCOUNT"), scope="password", key_func=own_account, error_message=TRIED)
def change_password():
    form = PasswordForm(current_user)
    if not form.validate_on_submit():
        return account_page(password_form=form), 422
    user = db.session.get(User, current_user.id)
    user.set_password(form.new_password.data)
    user.session_epoch = User.session_epoch + 1
    db.session.commit()
    begin_session(user)
    flash("The password is changed. Every other device is logged out.", "success")
    return redirect(url_for("auth.account"), 303)


@auth.post("/account/logout-everywhere")
@login_required
def logout_everywhere():
    user = db.session.get(User, current_user.id)
    user.session_epoch = User.session_epoch + 1
    db.session.commit()
    logout_user()
    session.clear()
    flash("You are logged out on every device, on this one too.", "success")
    return redirect(url_for("auth.login"), 303)


@auth.post("/account/tokens")
@login_required
def create_token():
    form = TokenForm()
    if form.validate_on_submit() and len(current_user.tokens) >= ApiToken.MOST:
        form.name.errors = [f"You have {ApiToken.MOST} tokens. Revoke one that you no longer use first."]
    if form.errors:
        return account_page(token_form=form), 422
    token, secret = ApiToken.make(current_user, form.name.data)
    # No redirect: the secret is in this one answer and nowhere else.
    return account_page(new_token=token, secret=secret), 201


@auth.post("/account/tokens/<id:token_id>/revoke")
@login_required
def revoke_token(token_id):
    token = ApiToken.query.filter_by(id=token_id, owner_id=current_user.id).first_or_404()
    db.session.delete(token)
    db.session.commit()
    flash("The token is revoked.", "success")
    return redirect(url_for("auth.account"), 303)
