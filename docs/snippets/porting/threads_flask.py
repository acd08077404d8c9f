import time
from threading import Thread

from flask import Flask, jsonify

app = Flask(__name__)


def price(shop, found):
    time.sleep(0.05)  # an HTTP request to the shop, say
    found[shop] = len(shop)


@app.get("/prices")
def prices():
    found = {}
    threads = [Thread(target=price, args=(shop, found)) for shop in ("a", "bb", "ccc", "dddd", "eeeee")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return jsonify(found)
