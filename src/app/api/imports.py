"""Files of links: imported in the background. Somebody else's imports are 404."""

from __future__ import annotations

from quart import Blueprint, abort, request, url_for
from quart.typing import ResponseReturnValue

from decant.quart.uploads import Upload

from ..accounts.current import require_user
from ..extensions import db
from ..imports import service
from ..imports.limits import allow_file, count_import
from ..models import Import
from ..web.errors import problem
from ..web.forms import Invalid
from .errors import Rejected, pointer
from .operations import operation
from .schemas import ImportView, RefusedRow

__all__ = ["imports"]

imports = Blueprint("imports", __name__)
_ERRORS = 100
_EXAMPLE = 'target,slug,title,tags\r\nhttps://example.com/minutes,,Minutes of May,"minutes, work"\r\n'
_FILE = "A CSV file in UTF-8 whose first row names its columns, ``target`` and others of a link's fields."


async def _view(found: Import) -> ImportView:
    return ImportView(
        id=found.id,
        state=found.state,
        problem=found.problem,
        total=found.total,
        made=found.made,
        refused=found.refused,
        first_refused=[RefusedRow(*error) for error in await service.first_errors(found, _ERRORS)],
        created_at=found.created_at,
        finished_at=found.finished_at,
    )


async def _own(import_id: int) -> Import:
    found = await service.find(await require_user(), import_id)
    if found is None:
        abort(404, "You have no import of this number.")
    return found


@imports.post("/imports")
@operation(
    "create_import",
    group="links",
    takes=("text/csv", _FILE, _EXAMPLE),
    answers=ImportView,
    status=202,
    problems=(409,),
    headers={"Location": "Where the import is in this API."},
    leads_to={name: {"import_id": "$response.body#/id"} for name in ("read_import", "cancel_import")},
)
async def create_import() -> ResponseReturnValue:
    """Import links from a CSV file

    They are made in the background, by the rules that hold for a single link. 409 while another import of yours is
    under way.
    """
    user = await require_user()
    allow_file(known=True)
    file = Upload()
    try:
        async for piece in request.body:
            file.write(piece)
        file.seek(0)
        await count_import()
        made = await service.begin(user, file, "links.csv")  # type: ignore[arg-type]  # all of IO[bytes] that it reads
    except service.UnderWay as refused:
        detail = refused.errors["file"]
        return problem(409, "Conflict", detail, errors=[{"detail": detail}])
    except Invalid as invalid:
        raise Rejected([{"detail": text, "pointer": pointer()} for text in invalid.errors.values()]) from None
    finally:
        file.close()
    return await _view(made), 202, {"Location": url_for(".read_import", import_id=made.id)}  # type: ignore[return-value]


@imports.get("/imports/<id63:import_id>")
@operation("read_import", group="links", answers=ImportView, problems=(404,))
async def read_import(import_id: int) -> ResponseReturnValue:
    """How far one of your imports is

    With the first rows that were refused; all of them are in the file that the import's page has.
    """
    return await _view(await _own(import_id))  # type: ignore[return-value]


@imports.post("/imports/<id63:import_id>/cancel")
@operation("cancel_import", group="links", answers=ImportView, problems=(403, 404))
async def cancel_import(import_id: int) -> ResponseReturnValue:
    """Cancel an import

    The links that are made by then stay. One that has ended stays as it is.
    """
    found = await _own(import_id)
    await service.cancel(found)
    await db.session.refresh(found)
    return await _view(found)  # type: ignore[return-value]
