import asyncio
import time

from flask import Flask

app = Flask(__name__)


def slow():
    time.sleep(0.01)
    return "slow"


@app.get("/")
async def index():  # Flask makes an event loop for this request and ends it afterwards
    return await asyncio.get_event_loop().run_in_executor(None, slow)
