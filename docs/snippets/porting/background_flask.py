from threading import Thread

from flask import Flask, render_template_string

app = Flask(__name__)
done = []


def long_task(name):
    done.append(name)  # no application context here; it dies with the process


@app.get("/start/<name>")
def start(name):
    Thread(target=long_task, args=(name,)).start()
    return render_template_string("<p>started {{ name }}", name=name)
