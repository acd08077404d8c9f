"""Socket.IO: clicks as they happen, and how far an import is."""

from flask_login import current_user
from flask_socketio import join_room

from .extensions import db, socketio
from .models import Import, Link

MOST = 50  # links of one page


def register_events():
    socketio.on_event("connect", connect)
    socketio.on_event("watch", watch)
    socketio.on_event("watch_import", watch_import)


def connect(auth=None):
    """Only for who is logged in."""
    return current_user.is_authenticated


def watch(slugs=None):
    """Which of these links are the user's; their clicks are told from now on."""
    if not current_user.is_authenticated or not isinstance(slugs, list):
        return []
    wanted = [slug for slug in slugs[:MOST] if isinstance(slug, str) and slug.isascii() and slug.isprintable()]
    found = Link.query.filter(Link.owner_id == current_user.id, Link.slug.in_(wanted)).all()
    for link in found:
        join_room(f"link:{link.id}")
    return [link.slug for link in found]


def watch_import(import_id=None):
    if not current_user.is_authenticated or type(import_id) is not int or not 0 < import_id < 2**31:
        return None
    found = Import.query.filter_by(id=import_id, owner_id=current_user.id).first()
    if found is None:
        return None
    join_room(f"import:{import_id}")
    db.session.refresh(found)  # after the room was joined, so that nothing falls between
    return found.figures()
