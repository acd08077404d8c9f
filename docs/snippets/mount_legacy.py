"""The Flask application as it is."""

from flask import Flask, flash, render_template_string, session, url_for

PAGE = """{% for text in get_flashed_messages() %}<p>{{ text }}</p>{% endfor %}
<p>{{ session.get('visits', 0) }} visits</p> <a href="{{ url_for('follow', slug='docs') }}">docs</a>"""


def create_app():
    app = Flask("shop")
    app.config.update(SECRET_KEY="change me", SESSION_COOKIE_SAMESITE="Lax")

    @app.get("/")
    def index():
        session["visits"] = session.get("visits", 0) + 1
        return render_template_string(PAGE)

    @app.get("/about")
    def about():
        return "about us"

    @app.get("/<slug>")
    def follow(slug):
        flash(f"{slug} was followed")
        return "", 302, {"Location": url_for("index")}

    return app
