"""How the API's description tells its errors: once each, for all operations."""

from __future__ import annotations

from typing import Any

import msgspec

from .schemas import InvalidProblem, Problem

__all__ = ["components", "response_of"]

_REF = "#/components/schemas/{name}"
_RESPONSES = {
    400: ("BadRequest", "The body is no JSON."),
    401: ("Unauthorized", "No valid token or session."),
    403: ("Forbidden", "Sent with a session, but without its token, or by a page of another site."),
    404: ("NotFound", "There is none, or it is not yours."),
    409: ("Conflict", "It exists already."),
    413: ("ContentTooLarge", "The body is too big."),
    415: ("UnsupportedMediaType", "The body is not said to be what the operation takes."),
    422: ("UnprocessableContent", "Some fields or parameters are wrong: ``errors`` lists them."),
    429: ("TooManyRequests", "More than may be asked for in this time."),
    500: ("InternalServerError", "Something went wrong here; it has been logged."),
    503: ("ServiceUnavailable", "Too much to do, or a server that is needed does not answer. Try again later."),
}
_HEADERS = {
    401: {"WWW-Authenticate": "How to authenticate: ``Bearer``."},
    429: {
        "Retry-After": "After how many seconds to try again.",
        "X-RateLimit-Limit": "How many requests the time that is over has.",
        "X-RateLimit-Remaining": "How many of them are left: 0.",
        "X-RateLimit-Reset": "When it begins anew, in seconds since 1970.",
    },
    503: {"Retry-After": "After how many seconds to try again."},
}


def response_of(status: int) -> str:
    """Where the response of a status is in the document."""
    return f"#/components/responses/{_RESPONSES[status][0]}"


def components(schemas: dict[str, Any]) -> dict[str, Any]:
    """The document's ``responses``, and its ``schemas`` with those of the problems."""
    made = msgspec.json.schema_components([Problem, InvalidProblem], ref_template=_REF)[1]
    responses = {name: _response(status, about) for status, (name, about) in _RESPONSES.items()}
    return {"responses": responses, "schemas": dict(sorted({**schemas, **made}.items()))}


def _response(status: int, about: str) -> dict[str, Any]:
    model = InvalidProblem if status in (409, 422) else Problem
    response: dict[str, Any] = {
        "description": about,
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name=model.__name__)}}},
    }
    if status in _HEADERS:
        schema = {"type": "string"}
        response["headers"] = {
            name: {"required": True, "description": text, "schema": schema} for name, text in _HEADERS[status].items()
        }
    return response
