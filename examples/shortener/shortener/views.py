"""The pages of links, imports and everything that is nobody's own; and the redirect."""

import csv
import io
import threading
from datetime import timedelta

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    jsonify,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask_login import current_user, login_required
from redis import Redis
from sqlalchemy import text
from werkzeug.exceptions import RequestEntityTooLarge

from . import csvfiles, qr
from .extensions import db
from .forms import ImportForm, LinkForm, one_line, zone_names
from .models import Import, Link, utcnow
from .services import (
    SlugTaken,
    announce_click,
    clicks_by_day,
    clicks_today,
    count_new_link,
    count_visit,
    create_link,
    delete_link,
    find_link,
    in_background,
    search_links,
    tags_in_use,
    totals,
    update_link,
)
from .urls import short_url

main = Blueprint("main", __name__)
links = Blueprint("links", __name__)
imports = Blueprint("imports", __name__)
PERIODS = (7, 30, 90, 365)


# -- everybody's -----------------------------------------------------------------------------------------------------


@main.get("/")
def front():
    if current_user.is_authenticated:
        return redirect(url_for("links.index"), 303)
    return render_template("front.html", totals=totals())


@main.get("/favicon.ico")
def favicon():
    return current_app.send_static_file("favicon.svg")


@main.get("/robots.txt")
def robots():
    lines = "User-agent: *\nDisallow: /account\nDisallow: /imports\nDisallow: /links\n"
    return Response(lines, mimetype="text/plain", headers={"Cache-Control": "public, max-age=86400"})


@main.get("/healthz")
def healthz():
    return Response("ok\n", mimetype="text/plain")


@main.get("/readyz")
def readyz():
    """Asks the servers that we need, each in a thread, so that it takes no longer than the slowest of them."""
    app, states = current_app._get_current_object(), {}
    checks = [
        threading.Thread(target=check_server, args=(app, name, ask, states), daemon=True)
        for name, ask in {"database": ask_database, "redis": ask_redis}.items()
    ]
    for check in checks:
        check.start()
    for check in checks:
        check.join(timeout=2)
    ready = states.get("database") == "ok"
    body = {"ready": ready, "checks": {name: states.get(name, "slow") for name in ("database", "redis")}}
    return jsonify(body), 200 if ready else 503


def check_server(app, name, ask, states):
    with app.app_context():
        try:
            ask(app)
            states[name] = "ok"
        except Exception as error:
            app.logger.warning("%s is not well: %s", name, error)
            states[name] = "failed"


def ask_database(app):
    db.session.execute(text("SELECT 1"))


def ask_redis(app):
    if app.config["CACHE_TYPE"] == "RedisCache":
        with Redis.from_url(app.config["REDIS_URL"], socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()


@main.get("/<slug:slug>")
def follow(slug):
    """The redirect. A HEAD is no visit. Never cached, so that each visit is counted."""
    found = find_link(slug)
    if found is None:
        abort(404, "There is no link of this name.")
    if request.method == "GET":
        if not count_visit(found):
            abort(410, "This link has expired, or all of its visits are used up.")
        in_background(announce_click, slug, found["id"])
    elif found["expires_at"] is not None and found["expires_at"] <= utcnow():
        abort(410, "This link has expired, or all of its visits are used up.")
    response = redirect(found["target"], 302)
    response.headers["Cache-Control"] = "private, no-store"
    return response


# -- links -----------------------------------------------------------------------------------------------------------


def own_link(slug):
    return Link.query.filter_by(slug=slug, owner_id=current_user.id).first_or_404("You have no link of this name.")


def line_of_query(name):
    try:
        return one_line(request.args.get(name), 100, f"The parameter {name}")
    except ValueError as error:
        abort(400, str(error))


@links.get("")
@login_required
def index():
    words, tag = line_of_query("q"), line_of_query("tag").lower()
    before = request.args.get("before", type=int)
    if before is not None and not 0 < before < 2**31:
        abort(400, "before= is not the end of a page.")
    items, older = search_links(current_user, words, tag, before)
    return render_template(
        "links/index.html",
        items=items,
        older=older,
        q=words,
        tag=tag,
        tags=tags_in_use(current_user),
        today=clicks_today(current_user),
    )


@links.get("/new")
@login_required
def new():
    return render_template("links/form.html", form=LinkForm(), link=None, zones=zone_names())


@links.post("/new")
@login_required
def create():
    form = LinkForm()
    if form.validate_on_submit():
        count_new_link()
        try:
            link = create_link(current_user, form.clean)
        except SlugTaken as error:
            form.slug.errors = [str(error)]
        else:
            # Drawn while the browser loads the page of the link, which shows it.
            app = current_app._get_current_object()
            threading.Thread(target=qr.draw_ahead, args=(app, short_url(link)), daemon=True).start()
            flash("The link is ready.", "success")
            return redirect(url_for("links.show", slug=link.slug), 303)
    return render_template("links/form.html", form=form, link=None, zones=zone_names()), 422


@links.get("/<slug:slug>")
@login_required
def show(slug):
    link = own_link(slug)
    period = request.args.get("days", "30")
    if period not in map(str, PERIODS):
        abort(400, f"days={period[:40]!r} is not one of {', '.join(map(str, PERIODS))}.")
    days = clicks_by_day(link, utcnow().date() - timedelta(days=int(period) - 1), utcnow().date())
    most = max([clicks for _, clicks in days] + [4])
    return render_template("links/show.html", link=link, days=days, most=most, period=int(period), periods=PERIODS)


@links.route("/<slug:slug>/edit", methods=["GET", "POST"])
@login_required
def edit(slug):
    link = own_link(slug)
    if request.method == "GET":
        return render_template("links/form.html", form=LinkForm.of(link), link=link, zones=zone_names())
    form = LinkForm(link=link)
    if not form.validate_on_submit():
        return render_template("links/form.html", form=form, link=link, zones=zone_names()), 422
    update_link(link, form.clean)
    flash("The changes are saved.", "success")
    return redirect(url_for("links.show", slug=slug), 303)


@links.route("/<slug:slug>/delete", methods=["GET", "POST"])
@login_required
def delete(slug):
    link = own_link(slug)
    if request.method == "GET":
        return render_template("links/delete.html", link=link)
    delete_link(link)
    flash(f"The link {slug} is deleted.", "success")
    return redirect(url_for("links.index"), 303)


@links.get("/<slug:slug>/qr.<any(svg,png):kind>")
@login_required
def qr_code(slug, kind):
    link = own_link(slug)
    image = qr.drawn(short_url(link), kind)
    response = Response(image, mimetype={"svg": "image/svg+xml", "png": "image/png"}[kind])
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = f'inline; filename="{slug}.{kind}"'
    response.add_etag()
    return response.make_conditional(request)


# -- imports and the export ------------------------------------------------------------------------------------------


def own_import(import_id):
    found = Import.query.filter_by(id=import_id, owner_id=current_user.id)
    return found.first_or_404("You have no import of this number.")


@imports.get("/imports", endpoint="index")
@login_required
def list_imports():
    page = (
        Import.query.filter_by(owner_id=current_user.id)
        .order_by(Import.id.desc())
        .paginate(page=request.args.get("page", 1, type=int), per_page=20, error_out=False)
    )
    return render_template("imports/index.html", page=page)


@imports.get("/imports/new", endpoint="new")
@login_required
def new_import():
    return render_template("imports/new.html", form=ImportForm())


@imports.post("/imports/new", endpoint="create")
@login_required
def create_import():
    form = ImportForm()
    upload = form.file.data
    try:
        if not form.validate_on_submit() or not upload or not upload.filename:
            raise csvfiles.Malformed("Choose a file.")
        made = csvfiles.begin(current_user, upload.read(), upload.filename)
    except (csvfiles.Malformed, csvfiles.UnderWay) as error:
        form.file.errors = [str(error)]
        return render_template("imports/new.html", form=form), 422
    return redirect(url_for("imports.show", import_id=made.id), 303)


@imports.errorhandler(RequestEntityTooLarge)
def too_large(error):
    form = ImportForm(formdata=None)
    form.file.errors = [f"A file may have at most {current_app.config['IMPORT_MAX_MB']} MB."]
    return render_template("imports/new.html", form=form), 413


@imports.get("/imports/<id:import_id>", endpoint="show")
@login_required
def show_import(import_id):
    return render_template("imports/show.html", found=own_import(import_id))


@imports.post("/imports/<id:import_id>/cancel")
@login_required
def cancel(import_id):
    if not csvfiles.cancel(own_import(import_id)):
        flash("The import had ended already.", "info")
    return redirect(url_for("imports.show", import_id=import_id), 303)


@imports.get("/imports/<id:import_id>/refused.csv")
@login_required
def refused(import_id):
    found = own_import(import_id)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["line", "reason", *(found.columns or [])])
    for row in found.errors:
        writer.writerow([row.line, row.reason, *map(csvfiles.guarded, row.cells)])
    return download(out.getvalue(), f"refused-{import_id}.csv")


@imports.get("/links.csv")
@login_required
def export():
    return download(stream_with_context(csvfiles.export(current_user.id)), "links.csv")


def download(body, name):
    response = Response(body, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
