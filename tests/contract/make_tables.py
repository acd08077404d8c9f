"""Makes the tables of the example in whose folder it is run: with the faces, where Celery and psycopg2 are missing."""

from __future__ import annotations

import os
import sys

from decant.flask import install
from decant.flask.async_db import use_async_drivers

sys.path.insert(0, os.getcwd())
install()
use_async_drivers()

from shortener.extensions import db  # noqa: E402
from shortener.wsgi import app  # noqa: E402

with app.app_context():
    db.create_all()
