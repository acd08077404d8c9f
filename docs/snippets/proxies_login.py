"""Flask-Login and Flask-WTF, unchanged, in a Quart application."""

from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_wtf import CSRFProtect, FlaskForm
from wtforms import StringField
from wtforms.validators import DataRequired

from decant.flask import share_proxies, waiting
from decant.quart import Quart, redirect, render_template_string, url_for

app = Quart(__name__)
app.config["SECRET_KEY"] = "change me"
share_proxies(app)  # before the extensions

login_manager = LoginManager(app)
login_manager.login_view = "login"
CSRFProtect(app)

USERS = {"ada": "Ada Lovelace"}


class User(UserMixin):
    def __init__(self, name):
        self.id, self.name = name, USERS[name]


@login_manager.user_loader
@waiting  # Flask-Login calls it without await
async def load_user(user_id):
    return User(user_id) if user_id in USERS else None


class LoginForm(FlaskForm):
    name = StringField("Name", validators=[DataRequired()])


@app.route("/login", methods=["GET", "POST"])
async def login():
    form = LoginForm()  # reads flask.request.form
    if form.validate_on_submit() and form.name.data in USERS:
        login_user(User(form.name.data))
        return redirect(url_for("index"))
    return await render_template_string(
        '<form method="post">{{ form.hidden_tag() }}{{ form.name() }}<button>Log in</button></form>', form=form
    )


@app.get("/")
@login_required
async def index():
    return await render_template_string("Hello, {{ current_user.name }}")


@app.post("/logout")
@login_required
async def logout():
    name = current_user.name
    logout_user()
    return f"Goodbye, {name}"
