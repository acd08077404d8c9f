# Options of Alembic. The database's URL is the application's.

[alembic]
# How the files in versions/ are named:
# file_template = %%(rev)s_%%(slug)s
