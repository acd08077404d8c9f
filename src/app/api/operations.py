"""``@operation``: what a view takes and answers, for the view itself and for the API's description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from msgspec import Struct
from quart import Response, abort, request
from quart.typing import ResponseReturnValue
from quart_schema import document_querystring, document_request, operation_id, tag, validate_response

from .reading import read_body, read_query

__all__ = ["Operation", "nothing", "operation", "operation_of"]

View = Callable[..., Awaitable[Any]]
_ATTRIBUTE = "_api_operation"


@dataclass(frozen=True)
class Operation:
    """What quart-schema has no place for: statuses of ``problems``, ``headers`` of the answer by name, the operations
    that it ``leads_to``, and of a body that is no JSON the media type, what it is, and an example.
    """

    status: int
    problems: frozenset[int]
    headers: dict[str, str] = field(default_factory=dict)
    leads_to: dict[str, dict[str, str]] = field(default_factory=dict)
    takes: tuple[str, str, str] | None = None


def operation(
    name: str,
    *,
    group: str,
    answers: type[Struct] | None,
    status: int = 200,
    body: type[Struct] | None = None,
    takes: tuple[str, str, str] | None = None,
    query: type[Struct] | None = None,
    problems: tuple[int, ...] = (),
    headers: dict[str, str] | None = None,
    leads_to: dict[str, dict[str, str]] | None = None,
) -> Callable[[View], Callable[..., Awaitable[ResponseReturnValue]]]:
    """A view of the API.

    :param name: its ``operationId``.
    :param answers: what it returns, alone or as ``(value, status, headers)``; None if it returns :func:`nothing`.
    :param body: what the request's JSON is read into, for the view's argument ``body``.
    :param takes: of a body that the view reads by itself: its media type, what it is, an example.
    :param query: what the query is read into, for the view's argument ``query``; without it a query is refused.
    :param leads_to: operations that the answer has the parameters of, each where it is: ``$response.body#/id``.
    :param problems: statuses besides those that follow from the other arguments.
    """
    reads = body is not None or takes is not None
    follow = {401, 422, 429, 500, 503, *problems, *((400, 403, 413, 415) if reads else ())}
    described = Operation(status, frozenset(follow), headers or {}, leads_to or {}, takes)

    def decorator(view: View) -> Callable[..., Awaitable[ResponseReturnValue]]:
        @wraps(view)
        async def wrapper(**arguments: Any) -> Any:
            asked = read_query(request, query)
            if takes is not None and request.mimetype != takes[0]:
                abort(415, f"Send the body as {takes[0]}.")
            if asked is not None:
                arguments["query"] = asked
            if body is not None:
                arguments["body"] = await read_body(request, body)
            return await view(**arguments)

        made: Any = operation_id(name)(tag([group])(wrapper))
        if query is not None:
            made = document_querystring(query)(made)
        if body is not None:
            made = document_request(body)(made)
        if answers is not None:
            made = validate_response(answers, status)(made)
        setattr(made, _ATTRIBUTE, described)
        return made  # type: ignore[no-any-return]

    return decorator


def nothing() -> Response:
    """The answer of an operation that has nothing to tell: 204, without a type of content that it has not."""
    response = Response(b"", 204)
    del response.headers["Content-Type"]
    return response


def operation_of(view: Any) -> Operation | None:
    """What :func:`operation` said of a view; None if it is no view of the API."""
    found: Operation | None = getattr(view, _ATTRIBUTE, None)
    return found
