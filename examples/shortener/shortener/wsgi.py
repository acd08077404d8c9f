"""What a WSGI server is given: gunicorn shortener.wsgi:app."""

from . import create_app

app = create_app()
