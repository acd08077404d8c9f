from pool_flask import app as flask_app  # yours

from decant import Quart
from decant.flask import mount

app = Quart(__name__)  # hypercorn mount_first:app, or decant serve mount_first:app
mount(app, flask_app)


@app.get("/users/<name>")  # a route that is Quart's from now on; POST is still Flask's
async def show(name):
    return {"name": name}
