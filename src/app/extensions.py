"""What the features share: one database, one metadata, one cache, one limiter, one pool of processes, one Socket.IO,
one set of background jobs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from decant.cache import Cache
from decant.cdn import CDN
from decant.database import SQLAlchemy
from decant.database.migrate import Migrate
from decant.executor import Executor
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address
from decant.socketio import SocketIO
from decant.tasks import Tasks

__all__ = ["Model", "cache", "cdn", "cpu", "db", "limiter", "link_room", "link_tag", "migrations", "socketio", "tasks"]

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMES)  # fixed names, so that a migration can drop what another made


# Rows stay readable after a commit: a page shows what it has just written without another query.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

migrations = Migrate(directory=Path(__file__).parents[2] / "migrations", render_as_batch=False)

cache = Cache()

limiter = Limiter(
    get_remote_address,  # the proxies of PROXY_HOPS are seen through before a request comes to this
    headers_enabled=True,
    strategy="sliding-window-counter",
    on_storage_error="memory",  # without Redis each process counts for itself
    key_prefix="shortener",
)

socketio = SocketIO(transports=["websocket"])  # polling would need a proxy that sends each client to one process

tasks = Tasks()

cdn = CDN()

cpu = Executor(name="cpu")
"""Processes for what would keep a core, and so the event loop, busy."""


def link_tag(link_id: int) -> str:
    """The tag of everything cached that is known of a link: invalidated when it changes or its clicks are counted."""
    return f"link:{link_id}"


def link_room(link_id: int) -> str:
    """Where open pages are told of a link's clicks and preview, over Socket.IO."""
    return f"link:{link_id}"


if TYPE_CHECKING:
    Model = Base
else:
    Model = db.Model
