from flask import Flask, jsonify
from flask_cors import CORS

app = Flask(__name__)
CORS(app, resources={r"/api/*": {"origins": "https://shop.example"}})


@app.get("/api/orders")
def orders():
    return jsonify(orders=[])
