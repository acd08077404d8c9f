from concurrent.futures import BrokenExecutor
from math import factorial

from decant import Quart
from decant.executor import Executor

app = Quart(__name__)
app.config["CPU_EXECUTOR_TYPE"] = "process"
app.config["CPU_EXECUTOR_MAX_WORKERS"] = 2
app.config["CPU_EXECUTOR_MAX_PENDING"] = 100

executor = Executor(app)  # threads
cpu = Executor(app, name="cpu")  # processes


@app.get("/digits/<int:number>")
async def digits(number):
    try:
        return {"bits": (await cpu.submit(factorial, number)).bit_length()}
    except BrokenExecutor:  # this job's process was killed; the next one has a new process
        return {"error": "try again"}, 503
