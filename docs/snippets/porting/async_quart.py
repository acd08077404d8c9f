import asyncio
import time

from decant import Quart

app = Quart(__name__)


def slow():
    time.sleep(0.01)
    return "slow"


@app.get("/")
async def index():  # on the one loop that serves everybody
    return await asyncio.to_thread(slow)
