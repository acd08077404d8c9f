from flask import Blueprint, Flask

from decant.cors import CORS

app = Flask(__name__)
api = Blueprint("api", __name__, url_prefix="/api")
CORS(api, origins="https://shop.example", supports_credentials=True)


@api.get("/orders")
def orders():
    return {"orders": []}


app.register_blueprint(api)
