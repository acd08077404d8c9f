"""What Celery's workers do."""

import logging
from datetime import timedelta

from celery import shared_task
from flask import current_app
from werkzeug.datastructures import MultiDict

from . import csvfiles
from .extensions import db, socketio
from .forms import LinkFields
from .models import Import, Job, RefusedRow, utcnow
from .services import add_links

log = logging.getLogger(__name__)
BATCH = 100


@shared_task(name="shortener.add")
def add(x, y):
    return x + y


@shared_task(name="shortener.run_import", bind=True, max_retries=5, ignore_result=True)
def run_import(self, import_id):
    """Makes the links of an import, or those that are left of it, when a worker was killed: batch by batch, the links
    and how far it is in one transaction.
    """
    found = db.session.get(Import, import_id, with_for_update=True)
    if found is None or not found.active:
        db.session.rollback()
        return
    found.state = "running"
    names, rows = csvfiles.read(found.content)
    hosts, done = set(found.hosts), found.done
    db.session.commit()
    tell(import_id)
    try:
        while done < len(rows):
            if not do_batch(import_id, names, rows[done : done + BATCH], done, hosts):
                return  # cancelled, or another worker has come further
            done += BATCH
            tell(import_id)
    except Exception as error:
        db.session.rollback()
        if self.request.retries < self.max_retries:
            raise self.retry(exc=error, countdown=2**self.request.retries) from error
        log.exception("import %s has failed", import_id)
        csvfiles.end(found, "failed", "Something went wrong here; it has been logged. What was imported has stayed.")
    else:
        csvfiles.end(found, "done")
    tell(import_id)


@shared_task(name="shortener.forget", ignore_result=True)
def forget():
    """Each night: what nobody asks for any more."""
    Job.query.filter(Job.created_at < utcnow() - timedelta(days=1)).delete(synchronize_session=False)
    stuck = Import.query.filter(Import.state.in_(Import.ACTIVE), Import.created_at < utcnow() - timedelta(days=1))
    for found in stuck.all():
        csvfiles.end(found, "failed", "It took too long. What was imported has stayed.")
    old = utcnow() - timedelta(days=current_app.config["IMPORT_KEEP_DAYS"])
    Import.query.filter(Import.finished_at < old).delete(synchronize_session=False)
    db.session.commit()


def do_batch(import_id, names, rows, done, hosts):
    found = db.session.get(Import, import_id, with_for_update=True, populate_existing=True)
    if found is None or found.state != "running" or found.done != done:
        db.session.rollback()
        return False
    wanted, refused = [], []
    for row in rows:
        data, reason = checked(names, row[1], hosts)
        if reason is None:
            wanted.append((row, data))
        else:
            refused.append((row, reason))
    results = add_links(found.owner_id, [data for _, data in wanted])
    refused += [(row, str(error)) for (row, _), error in zip(wanted, results, strict=True) if error is not None]
    for (line, cells), reason in refused:
        kept = [cell for name, cell in zip(names, cells, strict=False) if name not in ("line", "reason")]
        db.session.add(RefusedRow(import_id=import_id, line=line, reason=reason[:1000], cells=kept))
    found.made += len(rows) - len(refused)
    found.refused += len(refused)
    found.done += len(rows)
    db.session.commit()
    return True


def checked(names, cells, hosts):
    """What a row asks for, or why it is refused."""
    if len(cells) > len(names):
        return None, f"There are {len(cells)} cells, and only {len(names)} columns."
    form = LinkFields(MultiDict(csvfiles.fields_of(names, cells)), hosts=hosts)
    if not form.validate():
        return None, " ".join(text for errors in form.errors.values() for text in errors)
    return form.clean, None


def tell(import_id):
    """Tells the open pages. Nothing depends on it: a page that hears nothing asks the server."""
    found = db.session.get(Import, import_id, populate_existing=True)
    if found is None:
        return
    try:
        socketio.emit("import", found.figures(), to=f"import:{import_id}")
    except Exception as error:
        log.warning("open pages are not told of import %s: %s", import_id, error)
