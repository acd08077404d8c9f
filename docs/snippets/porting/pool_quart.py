from decant import Quart
from decant.executor import Executor

app = Quart(__name__)
executor = Executor(app)  # EXECUTOR_MAX_WORKERS threads; 1,000 jobs may wait, one more is answered 503
sent = []


def send_welcome(name):
    sent.append(name)


@app.post("/users/<name>")
async def register(name):
    executor.submit(send_welcome, name)  # an exception that nobody asks for is logged; shutdown waits for the job
    return "submitted", 202
