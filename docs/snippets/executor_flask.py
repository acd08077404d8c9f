from flask import Flask

from decant.executor import Executor

app = Flask(__name__)
executor = Executor(app)


@executor.job
def fib(number):
    return number if number < 2 else fib.fn(number - 1) + fib.fn(number - 2)


@app.get("/fib/<int:number>")
def fibonacci(number):
    future = fib.submit(number)
    future.add_done_callback(lambda done: app.logger.info("it is %s", done.result()))
    return {"one": future.result(timeout=10), "all": list(fib.map(range(number)))}
