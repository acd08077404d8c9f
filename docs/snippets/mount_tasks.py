"""New jobs are decant.tasks; both halves ask for them."""

import os

from flask import Flask
from flask import request as flask_request

from decant import Quart
from decant.faces import face
from decant.flask import mount
from decant.tasks import Tasks

app, legacy = Quart(__name__), Flask("legacy")
app.config.update(
    SECRET_KEY="change me",
    TASKS_DATABASE_URL=os.environ.get("DATABASE_URL", "postgresql:///example"),
    REDIS_URL=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
)
legacy.config.update(app.config)
tasks = Tasks(app)  # the workers': decant worker module:app
legacy_tasks = face(Tasks)(legacy)


@tasks.task(name="shop.add")
async def add(x, y):
    return x + y


@legacy.post("/legacy/add")
def begin():
    numbers = flask_request.get_json()
    return {"id": legacy_tasks.send_task("shop.add", (numbers["x"], numbers["y"])).id}, 202


@app.get("/jobs/<job_id>")
async def show(job_id):
    job = add.AsyncResult(job_id)
    return {"state": await job.state, "result": await job.result if await job.successful() else None}


mount(app, legacy)
