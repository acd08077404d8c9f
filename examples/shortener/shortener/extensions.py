"""The extensions, made once and given to each application by create_app."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from celery import Celery
from flask_caching import Cache
from flask_cors import CORS
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

db = SQLAlchemy()
migrate = Migrate(directory=Path(__file__).parents[1] / "migrations")
login_manager = LoginManager()
csrf = CSRFProtect()
cache = Cache()
cors = CORS()
limiter = Limiter(key_func=get_remote_address)
socketio = SocketIO(transports=["websocket"])  # polling would need sticky sessions
celery = Celery("shortener")

# What a request need not wait for, and what may be lost when the process ends.
executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="background")
