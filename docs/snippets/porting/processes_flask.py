from math import factorial
from multiprocessing import Pool

from flask import Flask, jsonify

app = Flask(__name__)


def digits(number):
    return len(str(factorial(number)))


@app.get("/digits")
def many():
    with Pool(2) as pool:  # new processes for each request
        return jsonify(pool.map(digits, [100, 200, 300]))
