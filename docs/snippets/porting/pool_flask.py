from concurrent.futures import ThreadPoolExecutor

from flask import Flask

app = Flask(__name__)
executor = ThreadPoolExecutor(max_workers=4)
sent = []


def send_welcome(name):
    sent.append(name)


@app.post("/users/<name>")
def register(name):
    executor.submit(send_welcome, name)  # nobody looks at the future: an exception in it is lost
    return "submitted", 202
