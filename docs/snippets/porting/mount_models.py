from blog_flask import User, create_app  # yours: Flask-SQLAlchemy's models

from decant import Quart
from decant.database import SQLAlchemy
from decant.flask import mount

flask_app = create_app()
app = Quart(__name__)
url = flask_app.config["SQLALCHEMY_DATABASE_URI"]
app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql://" + url.partition("://")[2]  # without psycopg2: by asyncpg
db = SQLAlchemy(app)
mount(app, flask_app)


@app.get("/blog/<username>")  # POST is still Flask's
async def show(username):
    user = await db.first_or_404(db.select(User).filter_by(username=username))
    return {"user": user.username, "posts": [post.title for post in user.posts]}  # lazy, as ever
