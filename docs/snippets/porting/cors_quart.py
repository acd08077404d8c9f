from quart import jsonify

from decant import Quart
from decant.cors import CORS

app = Quart(__name__)
CORS(app, resources={r"/api/*": {"origins": "https://shop.example"}})


@app.get("/api/orders")
async def orders():
    return jsonify(orders=[])
