from quart import redirect, session, url_for

from decant import Quart
from decant.monitor import Monitor
from decant.tasks import Tasks

app = Quart(__name__)
app.config["SECRET_KEY"] = "a long random value"
app.config["TASKS_DATABASE_URL"] = "postgresql://localhost/app"
app.config["REDIS_URL"] = "redis://localhost/0"
tasks = Tasks(app)


async def may_see():
    if "user" not in session:
        return redirect(url_for("log_in"))
    return session["user"] in {"ada", "grace"}


app.register_blueprint(Monitor(tasks, guard=may_see), url_prefix="/jobs")


@app.route("/log-in")
async def log_in():
    return "Who are you?"
