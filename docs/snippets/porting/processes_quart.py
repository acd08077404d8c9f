from math import factorial

from quart import jsonify

from decant import Quart
from decant.executor import Executor

app = Quart(__name__)
app.config["CPU_EXECUTOR_TYPE"] = "process"
app.config["CPU_EXECUTOR_MAX_WORKERS"] = 2
cpu = Executor(app, name="cpu")  # these processes are started once


def digits(number):
    return len(str(factorial(number)))


@app.get("/digits")
async def many():
    return jsonify([result async for result in cpu.map(digits, [100, 200, 300, 400, 500])])
