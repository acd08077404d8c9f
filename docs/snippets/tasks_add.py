"""The smallest example: a view asks for a job, another one shows how it is."""

import os

from quart import jsonify, request, url_for

from decant import Quart
from decant.tasks import Tasks
from decant.tasks.worker import worker_settings

app = Quart(__name__)
app.config.update(
    TASKS_DATABASE_URL=os.environ.get("DATABASE_URL", "postgresql:///example"),
    REDIS_URL=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
)
tasks = Tasks(app)


@tasks.task
async def add(x, y):
    return x + y


@app.post("/add")
async def begin():
    numbers = await request.get_json()
    job = await add.delay(numbers["x"], numbers["y"])
    return jsonify(url=url_for("show", job_id=job.id)), 202


@app.get("/jobs/<uuid:job_id>")
async def show(job_id):
    job = add.AsyncResult(job_id)
    return jsonify(state=await job.state, result=await job.result if await job.successful() else None)


WorkerSettings = worker_settings(tasks, app)  # decant worker tasks_add:WorkerSettings
