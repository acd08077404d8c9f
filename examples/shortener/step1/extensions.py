"""The extensions of the Quart half: the twins of those in shortener.extensions.

Flask-Login and Flask-WTF wait for nothing themselves and need no twin: share_proxies() in factory.py.
"""

from flask_login import LoginManager
from flask_wtf import CSRFProtect

from decant.cache import Cache
from decant.cors import CORS
from decant.database import SQLAlchemy
from decant.executor import Executor
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address

db = SQLAlchemy(session_options={"expire_on_commit": False})
cache = Cache()
limiter = Limiter(get_remote_address)
cors = CORS()
login_manager = LoginManager()
csrf = CSRFProtect()
cpu = Executor(name="cpu")  # processes, for what computes
