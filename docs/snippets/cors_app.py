from datetime import timedelta

from decant import Quart
from decant.cors import CORS, cross_origin

app = Quart(__name__)
CORS(
    app,
    resources={
        r"/api/*": {"origins": ["https://shop.example", r"https://.*\.shop\.example$"]},
        "/api/public": {"origins": "*"},
    },
    expose_headers=["X-Total"],
    max_age=timedelta(hours=1),
)


@app.get("/api/orders")
async def orders():
    return {"orders": []}


@app.get("/api/public")
async def public():
    return {"open": True}


@app.post("/feedback")
@cross_origin(origins="https://partner.example", methods=["POST"])
def feedback():
    return {"thanks": True}
