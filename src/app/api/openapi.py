"""The API's description (OpenAPI 3.1), by quart-schema, and the application of all parts to the app.

quart-schema describes one response per model; what every operation answers besides (problems, headers, 204) and
models within models are added here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from quart import Blueprint, Quart, Response, request
from quart_schema import APIKeySecurityScheme, HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema, Tag
from quart_schema.validation import DataSource
from werkzeug.routing.converters import BaseConverter, UUIDConverter
from werkzeug.routing.rules import Rule

from ..web.converters import SLUG, Id63, Slug
from ..web.csrf import exempt
from .account import account
from .auth import authenticate
from .docs import docs
from .errors import init_errors
from .imports import imports
from .jobs import jobs
from .links import links
from .operations import Operation, operation_of
from .problems import components as problem_components
from .problems import response_of

__all__ = ["init_api"]

_REF = "#/components/schemas/{name}"
_NAME = "api"
_ABOUT = """\
Everything that the pages do with links, for programs. Make a token on your account's page, and send it:
`Authorization: Bearer dct_…`.

Bodies are JSON in UTF-8. Unknown fields and unknown parameters are refused, so that a typing error is not
taken for a wish. Every error is `application/problem+json`; one of status 422 lists all fields that are wrong.
"""

_GROUPS = {
    "links": "Short links and how often they are followed.",
    "account": "Who asks, and tokens.",
    "jobs": "Work that is done in the background.",
}


def init_api(app: Quart) -> None:
    """Give the application ``/api/v1``, ``/openapi.json`` and ``/api/docs``."""
    api = Blueprint(_NAME, __name__, url_prefix="/api/v1")
    api.before_request(authenticate)
    init_errors(api)
    for part in (links, imports, account, jobs):
        api.register_blueprint(part)
    app.register_blueprint(api)
    app.register_blueprint(docs)
    exempt(app, api)  # authenticate() checks by itself
    QuartSchema(
        app,
        openapi_path="/openapi.json",
        swagger_ui_path=None,  # these load scripts from elsewhere
        redoc_ui_path=None,
        scalar_ui_path=None,
        conversion_preference="msgspec",
        openapi_provider_class=Description,
        info=Info(title="Decant", version="1", description=_ABOUT),
        tags=[Tag(name, about) for name, about in _GROUPS.items()],
        security_schemes={
            "token": HttpSecurityScheme(scheme="bearer"),
            "session": APIKeySecurityScheme(name=app.config["SESSION_COOKIE_NAME"], in_="cookie"),
            "csrf": APIKeySecurityScheme(name="X-CSRF-Token", in_="header"),
        },
    )

    @app.after_request
    async def public(response: Response) -> Response:
        if request.endpoint == "openapi" and response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=300"
        return response


class Description(OpenAPIProvider):
    """The document: built at the first request for it, then kept."""

    _built: dict[str, Any] | None = None

    def schema(self) -> dict[str, Any]:
        if self._built is None:
            built = super().schema()
            built["paths"] = dict(built["paths"])
            built["components"] |= problem_components(built["components"]["schemas"])
            self._built = built
        return self._built

    def generate_rules(self) -> Iterable[Rule]:
        for rule in self._app.url_map.iter_rules():
            if operation_of(self._app.view_functions[rule.endpoint]) is not None:
                yield rule

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        described = operation_of(self._app.view_functions[rule.endpoint])
        if described is not None:
            for path in paths.values():
                for method, found in path.items():
                    _complete(found, described, safe=method == "get")
        return paths, components

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter = super().build_path_parameter(name, converter)
        if isinstance(converter, Slug):
            parameter["schema"] = {"type": "string", "pattern": f"^{SLUG}$"}
        elif isinstance(converter, UUIDConverter):
            parameter["schema"] = {"type": "string", "format": "uuid"}
        elif isinstance(converter, Id63):
            parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": converter.max}
        return parameter

    def build_querystring_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        schemas = _schemas(model)
        schema = schemas.pop(model.__name__)
        return [_parameter(name, about) for name, about in schema["properties"].items()], schemas

    def build_request_body(self, model: Any, source: DataSource) -> tuple[dict[str, Any], dict[str, Any]]:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=model.__name__)}}}
        return {"required": True, "content": content}, _schemas(model)

    def build_response_object(self, model: Any, headers_model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=model.__name__)}}}
        return {"description": model.__doc__ or "", "content": content}, _schemas(model)

    def operation_id(self, method: str, path: str, func: Any) -> str | None:
        found: str | None = super().operation_id(method, path, func)
        return found.removeprefix(f"{method.lower()}_") if found else None


def _schemas(model: type[Struct]) -> dict[str, Any]:
    """The schema of a model, and of each model in it, by name."""
    return msgspec.json.schema_components([model], ref_template=_REF)[1]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of the query, whose absence is not spelt ``null`` as it is in a body."""
    options = [option for option in schema.pop("anyOf", ()) if option.get("type") != "null"]
    if schema.get("default", 0) is None:
        del schema["default"]
    for option in options:
        schema |= option
    parameter: dict[str, Any] = {"name": name, "in": "query", "required": False, "schema": schema}
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    return parameter


def _complete(found: dict[str, Any], described: Operation, *, safe: bool) -> None:
    """Add what is answered besides the model, in JSON's types."""
    answers = {str(status): answer for status, answer in found["responses"].items()}
    answer = answers.setdefault(str(described.status), {"description": "Done."})
    if described.takes is not None:
        media_type, about, example = described.takes
        content = {media_type: {"schema": {"type": "string"}, "example": example}}
        found["requestBody"] = {"required": True, "description": about, "content": content}
    if described.headers:
        schema = {"type": "string"}
        answer["headers"] = {
            name: {"description": about, "schema": schema} for name, about in described.headers.items()
        }
    if described.leads_to:
        answer["links"] = {
            name: {"operationId": name, "parameters": given} for name, given in described.leads_to.items()
        }
    for status in sorted(described.problems):
        answers[str(status)] = {"$ref": response_of(status)}
    found["responses"] = answers
    found["security"] = [{"token": []}, {"session": []} if safe else {"session": [], "csrf": []}]
