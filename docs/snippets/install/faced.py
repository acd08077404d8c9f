"""What `decant serve --faces` and `decant worker --faces` do before they import their target."""

from decant.flask import install

replaced = install()  # before anything imports one of the extensions

from shop import app, cache  # noqa: E402

assert type(cache).__module__.startswith("decant.")
assert "flask_caching" in replaced
asgi_app = app
