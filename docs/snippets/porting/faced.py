from decant.flask import install
from decant.flask.async_db import use_async_drivers

install()
use_async_drivers()

from flask.cli import main  # noqa: E402  it imports what other extensions add to it, and later the application

main()
