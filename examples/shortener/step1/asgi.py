"""What a server is given: decant serve step1.asgi:app."""

from .factory import create_app

app = create_app()
