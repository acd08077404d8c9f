"""Step 2: the route that has the most requests has been moved."""

from mount_legacy import create_app

from decant import Quart
from decant.flask import mount
from decant.quart import flash, redirect, url_for

app = Quart(__name__, static_folder=None)


@app.get("/<slug>")
async def follow(slug):
    await flash(f"{slug} was followed")
    return redirect(url_for("index"))  # Flask's


mounted = mount(app, create_app())
