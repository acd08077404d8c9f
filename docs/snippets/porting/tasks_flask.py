import os

from celery import Celery
from flask import Flask, jsonify, request

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
app = Flask(__name__)
celery = Celery("tasks", broker=REDIS_URL, backend=REDIS_URL)


@celery.task
def add(x, y):
    return x + y


@app.post("/add")
def start():
    numbers = request.get_json()
    result = add.delay(numbers["x"], numbers["y"])
    return jsonify(id=result.id, status="accepted"), 202


@app.get("/add/<job_id>")
def show(job_id):
    result = celery.AsyncResult(job_id)
    return jsonify(state=result.state, result=result.result if result.successful() else None)
