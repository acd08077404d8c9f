"""Step 1: a Quart application that answers nothing itself yet."""

from mount_legacy import create_app

from decant import Quart
from decant.flask import mount

app = Quart(__name__, static_folder=None)
mount(app, create_app())
