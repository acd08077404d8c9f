import asyncio

from quart import jsonify

from decant import Quart

app = Quart(__name__)


async def price(shop):
    await asyncio.sleep(0.05)  # an HTTP request to the shop, by an async client
    return len(shop)


@app.get("/prices")
async def prices():
    shops = ("a", "bb", "ccc", "dddd", "eeeee")
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:  # one that fails cancels the others
        tasks = {shop: group.create_task(price(shop)) for shop in shops}
    return jsonify({shop: task.result() for shop, task in tasks.items()})
