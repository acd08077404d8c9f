from decant.flask import asgi, install

install()  # before any extension is imported

from pool_flask import app as flask_app  # noqa: E402  yours

app = asgi(flask_app, views="loop")  # hypercorn loop_serve:app
