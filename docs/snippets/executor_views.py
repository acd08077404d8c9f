from quart import g, request

from decant import Quart, wait
from decant.executor import Executor

app = Quart(__name__)
app.config["EXECUTOR_MAX_WORKERS"] = 4
executor = Executor(app)


def resize(width):  # a thread, with the request's context
    return f"{request.args['image']} at {width} for {g.user}"


async def lookup(name):
    return name.upper()


@app.get("/resized")
async def resized():
    g.user = "ada"
    return {
        "one": await executor.submit(resize, 100),
        "many": [result async for result in executor.map(resize, [200, 300])],
        "coroutine": await executor.submit(lookup, "ada"),
        "waiting": await executor.submit(lambda: wait(lookup("bob"))),
    }


@app.post("/reports/<name>")
async def start(name):
    executor.submit_stored(name, resize, 400)
    return {"status": "accepted"}, 202


@app.get("/reports/<name>")
async def report(name):
    if not executor.futures.done(name):
        return {"status": executor.futures._state(name)}
    return {"report": await executor.futures.pop(name)}
