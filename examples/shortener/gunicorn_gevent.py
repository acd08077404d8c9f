"""gunicorn -c gunicorn_gevent.py shortener.wsgi:app: greenlets instead of threads."""

worker_class = "gevent"
worker_connections = 1000


def post_fork(server, worker):
    """psycopg2 is C: without this it would hold all greenlets of the process while it waits."""
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()
