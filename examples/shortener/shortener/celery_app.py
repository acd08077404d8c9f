"""What a worker is given: celery -A shortener.celery_app worker."""

from celery.signals import worker_process_init

from . import create_app
from .extensions import db

flask_app = create_app()
celery = flask_app.extensions["celery"]


@worker_process_init.connect
def forget_connections(**kwargs):
    """A forked process must not use its parent's connections to the database."""
    with flask_app.app_context():
        db.engine.dispose(close=False)
