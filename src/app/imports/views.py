"""The pages of imports, and the export; somebody else's are 404."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quart import Blueprint, Response, abort, current_app, flash, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from decant.quart import stream_with_context

from ..accounts import login_required
from ..accounts.current import require_user
from ..models import Import
from ..web.forms import Invalid
from . import service
from .exporting import error_pieces, export
from .limits import allow_file, count_import

__all__ = ["imports"]

imports = Blueprint("imports", __name__)
_ERRORS_SHOWN = 10
_STREAM_S = 3600  # the longest that a download may take; Quart's own limit is a minute


@imports.url_value_preprocessor
def _file_in_form(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if endpoint == "imports.create" and request.method == "POST":
        allow_file()  # here, because the check of the form's token reads the body before any view


async def _own(import_id: int) -> Import:
    found = await service.find(await require_user(), import_id)
    if found is None:
        abort(404, "You have no import of this number.")
    return found


async def _form(errors: dict[str, str], status: int) -> ResponseReturnValue:
    return await render_template("imports/new.html", errors=errors, values={}), status


@imports.errorhandler(RequestEntityTooLarge)
async def too_large(error: RequestEntityTooLarge) -> ResponseReturnValue:
    return await _form({"file": f"A file may have at most {current_app.config['IMPORT_MAX_MB']} MB."}, 413)


@imports.get("/imports")
@login_required
async def index() -> ResponseReturnValue:
    return await render_template("imports/index.html", imports=await service.recent(await require_user()))


@imports.get("/imports/new")
@login_required
async def new_page() -> ResponseReturnValue:
    return await _form({}, 200)


@imports.post("/imports/new")
@login_required
async def create() -> ResponseReturnValue:
    user, file = await require_user(), (await request.files).get("file")
    if file is None or not file.filename:
        return await _form({"file": "Choose a file."}, 422)
    try:
        await count_import()
        made = await service.begin(user, file.stream, file.filename)
    except Invalid as invalid:
        return await _form(invalid.errors, 422)
    return redirect(url_for("imports.show", import_id=made.id), 303)


@imports.get("/imports/<id63:import_id>")
@login_required
async def show(import_id: int) -> ResponseReturnValue:
    found = await _own(import_id)
    errors = await service.first_errors(found, _ERRORS_SHOWN)
    return await render_template("imports/show.html", found=found, errors_shown=errors)


@imports.post("/imports/<id63:import_id>/cancel")
@login_required
async def cancel(import_id: int) -> ResponseReturnValue:
    found = await _own(import_id)
    if not await service.cancel(found):
        await flash("The import had ended already.", "info")
    return redirect(url_for("imports.show", import_id=import_id), 303)


@imports.get("/imports/<id63:import_id>/refused.csv")
@login_required
async def refused(import_id: int) -> ResponseReturnValue:
    found = await _own(import_id)
    return _download(error_pieces(found.id), f"refused-{found.id}.csv")


@imports.get("/links.csv")
@login_required
async def exported() -> ResponseReturnValue:
    return _download(export((await require_user()).id), "links.csv")


def _download(pieces: AsyncIterator[bytes], name: str) -> Response:
    response = Response(stream_with_context(pieces), content_type="text/csv; charset=utf-8; header=present")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.timeout = _STREAM_S
    return response
