import os

from flask import Blueprint, Flask, abort, redirect, render_template_string, request, url_for
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()


# begin model
class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(80), unique=True, index=True)
    posts = db.relationship("Post", back_populates="author")


class Post(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String(200))
    author_id = db.Column(db.ForeignKey("user.id"), index=True)
    author = db.relationship(User, back_populates="posts")


# end model


# begin blueprint
blog = Blueprint("blog", __name__, url_prefix="/blog")


@blog.before_request
def only_people():
    if request.headers.get("X-Robot"):
        abort(403)


@blog.get("/<username>")
def show(username):
    user = User.query.filter_by(username=username).first_or_404()
    return render_template_string(
        "{{ user.username }}:{% for post in user.posts %} {{ post.title }}{% endfor %}", user=user
    )


@blog.post("/<username>")
def write(username):
    user = User.query.filter_by(username=username).first_or_404()
    db.session.add(Post(title=request.form["title"], author=user))
    db.session.commit()
    return redirect(url_for("blog.show", username=username))


# end blueprint


def create_app(config=None):
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE_URL", "postgresql:///blog")
    app.config.update(config or {})
    db.init_app(app)
    app.register_blueprint(blog)
    return app
