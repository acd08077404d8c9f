"""How Alembic migrates: on the application's own database, with its models' metadata."""

from decant.database.migrate import run_migrations

# Other metadata can join, so that one history has all the tables: run_migrations(other.metadata)
run_migrations()
