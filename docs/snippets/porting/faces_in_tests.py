from decant.flask import install
from decant.flask.async_db import use_async_drivers

install()  # the first lines of conftest.py: nothing of the application is imported yet
use_async_drivers()
