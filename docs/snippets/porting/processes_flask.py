from math import factorial
from multiprocessing import Process, Queue

from flask import Flask, jsonify

app = Flask(__name__)


def digits(number, found):
    found.put(len(str(factorial(number))))


@app.get("/digits")
def many():
    found = Queue()
    processes = [Process(target=digits, args=(number, found)) for number in (100, 200, 300, 400, 500)]
    for process in processes:  # new ones for each request
        process.start()
    for process in processes:
        process.join()
    return jsonify(sorted(found.get(timeout=5) for _ in processes))
