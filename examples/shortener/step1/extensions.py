"""The extensions of the Quart half: the twins of those in shortener.extensions."""

from decant.cors import CORS
from decant.database import SQLAlchemy
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address

db = SQLAlchemy()
limiter = Limiter(get_remote_address)
cors = CORS()
