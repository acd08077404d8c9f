"""Programs that call the API, and see to it that every answer is as the API's description says."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jsonschema_rs
import pytest

from app.accounts import service, tokens
from decant import Quart
from decant.testing import Client

from ..conftest import PASSWORD

API = "/api/v1"


@dataclass
class Description:
    """The OpenAPI document, and whether an answer is what it says."""

    document: dict[str, Any]

    @cached_property
    def paths(self) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
        return [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), methods)
            for path, methods in self.document["paths"].items()
        ]

    def check(self, method: str, path: str, response: Any) -> None:
        """Fail unless status, type, headers and body are described for this operation."""
        operations = next((methods for pattern, methods in self.paths if pattern.fullmatch(path)), {})
        if (operation := operations.get(method.lower())) is None:
            assert response.status_code in (200, 404, 405), f"{method} {path} is not described"
            return
        assert str(response.status_code) in operation["responses"], f"{method} {path}: {response.status_code}"
        described = self.resolve(operation["responses"][str(response.status_code)])
        for name, header in described.get("headers", {}).items():
            assert name in response.headers or not header.get("required"), f"{method} {path} has no {name}"
        if "content" not in described:
            assert response.data == b""
            assert "Content-Type" not in response.headers
            return
        schema = {**described["content"][response.content_type]["schema"], "components": self.document["components"]}
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(response.json)

    def resolve(self, part: dict[str, Any]) -> dict[str, Any]:
        found: Any = self.document
        if "$ref" not in part:
            return part
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return dict(found)


@dataclass
class Caller:
    """Somebody's program: sends their token, checks every answer against the description."""

    client: Client
    description: Description
    secret: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = {**self.headers, **options.pop("headers", {})}
        if self.secret is not None:
            headers.setdefault("Authorization", f"Bearer {self.secret}")
        response = await self.client.open(API + path, method=method, headers=headers, **options)
        if method != "HEAD":
            self.description.check(method, (API + path).split("?")[0], response)
        return response

    async def get(self, path: str, **options: Any) -> Any:
        return await self("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Any:
        return await self("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> Any:
        return await self("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> Any:
        return await self("DELETE", path, **options)

    async def link(self, **fields: Any) -> Any:
        """Make a link; its fields."""
        response = await self.post("/links", json={"target": "https://example.com/", **fields})
        assert response.status_code == 201, response.json
        return response.json


Callers = Callable[..., Awaitable[Caller]]


@pytest.fixture
async def description(app: Quart) -> Description:
    return Description(await (await app.test_client().get("/openapi.json")).json)


@pytest.fixture
def caller(app: Quart, description: Description) -> Callers:
    """Makes an account and a token, and a program that uses it."""

    async def make(username: str) -> Caller:
        async with app.app_context():
            user = await service.register(username, PASSWORD)
            _, secret = await tokens.create(user, "tests")
        return Caller(app.test_client(), description, secret)

    return make


@pytest.fixture
async def ada(caller: Callers) -> Caller:
    return await caller("ada")


def refused(response: Any) -> list[str]:
    """What a 422 says is wrong: pointers and parameters."""
    assert response.status_code == 422, response.json
    return [error.get("pointer") or error["parameter"] for error in response.json["errors"]]
