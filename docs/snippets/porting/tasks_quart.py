import os

from quart import jsonify, request

from decant import Quart
from decant.tasks import Tasks

app = Quart(__name__)
app.config["REDIS_URL"] = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
app.config["TASKS_DATABASE_URL"] = os.environ.get("DATABASE_URL", "postgresql:///example")  # the ledger: no job is lost
tasks = Tasks(app)


@tasks.task
async def add(x, y):
    return x + y


@app.post("/add")
async def start():
    numbers = await request.get_json()
    result = await add.delay(numbers["x"], numbers["y"])
    return jsonify(id=result.id, status="accepted"), 202


@app.get("/add/<job_id>")
async def show(job_id):
    result = tasks.AsyncResult(job_id)
    return jsonify(state=await result.state, result=await result.result if await result.successful() else None)
