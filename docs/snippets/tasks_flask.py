"""The same in a Flask application: the face of ``Tasks``, without ``await``."""

import os

from flask import Flask, request

from decant.faces import face
from decant.tasks import Tasks

app = Flask(__name__)
app.config.update(
    TASKS_DATABASE_URL=os.environ.get("DATABASE_URL", "postgresql:///example"),
    REDIS_URL=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
)
tasks = face(Tasks)(app)


@tasks.task
def add(x, y):
    return x + y


@app.post("/add")
def begin():
    numbers = request.get_json()
    return {"id": add.delay(numbers["x"], numbers["y"]).id}, 202


@app.get("/jobs/<job_id>")
def show(job_id):
    job = add.AsyncResult(job_id)
    return {"state": job.state, "result": job.result if job.successful() else None}
