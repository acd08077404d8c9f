from decant.flask import install
from decant.flask.async_db import use_async_drivers

install()  # the first lines of conftest.py
use_async_drivers()
