"""How Alembic migrates: on the application's own database, with its models' metadata.

``quart --app app.asgi:app db …`` and ``decant up`` run this; metadata of libraries that keep tables joins here.
"""

from __future__ import annotations

from decant.database.migrate import run_migrations
from decant.tasks.ledger.tables import metadata as ledger

run_migrations(ledger)
