"""``/openapi.json`` and ``/api/docs``: valid, complete, and nothing that the content security policy forbids."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from quart_schema import QuartSchema

import decant
from decant import Quart

from .conftest import Caller, Description


def validate(document: dict[str, Any]) -> None:
    """Against OpenAPI's own schema; in a thread, as Schemathesis reads its configuration."""
    schemathesis.openapi.from_dict(document).validate()


async def test_the_description_is_valid_openapi(description: Description) -> None:
    """By OpenAPI's own schema; and every reference leads somewhere."""
    await asyncio.to_thread(validate, description.document)
    broken = {**description.document, "paths": {"/x": {"get": {"responses": 1}}}}
    with pytest.raises(jsonschema_rs.ValidationError):
        await asyncio.to_thread(validate, broken)
    for reference in re.findall(r"'\$ref': '([^']+)'", str(description.document)):
        assert description.resolve({"$ref": reference})


async def test_every_route_is_described(app: Quart, description: Description) -> None:
    """Each method of each route below ``/api/v1``, and nothing else."""
    routed = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1") and rule.methods
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, found in description.document["paths"].items() for method in found}
    assert described == routed


async def test_every_operation_tells_how_it_fails(description: Description) -> None:
    """Problems in their own type, a name and a summary for each operation, security by token or session."""
    names = []
    for path, methods in description.document["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            assert operation["summary"]
            assert not operation["summary"].endswith(".")
            assert {"401", "422", "503"} <= operation["responses"].keys()
            assert ("404" in operation["responses"]) == ("{" in path)
            assert ("403" in operation["responses"]) == (method != "get")
            assert ({"400", "413", "415"} <= operation["responses"].keys()) == ("requestBody" in operation)
            assert {"token": []} in operation["security"]
            for status, response in operation["responses"].items():
                content = description.resolve(response).get("content", {})
                assert list(content) == (
                    ["application/problem+json"] if status >= "400" else ["application/json"] * (status != "204")
                )
    assert len(set(names)) == len(names)


async def test_the_description_may_be_cached(app: Quart) -> None:
    """It is the same for everybody."""
    client = app.test_client()
    first, second = await client.get("/openapi.json"), await client.get("/openapi.json")
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert first.data == second.data
    assert "Set-Cookie" not in first.headers


async def test_quart_schema_works_with_our_application_class() -> None:
    """Its own way to set it up: the test client that it derives, a struct that a view returns."""
    app = await asyncio.to_thread(decant.Quart, __name__)
    QuartSchema(app, conversion_preference="msgspec")

    @app.get("/")
    async def view() -> dict[str, int]:
        return {"a": 1}

    client: Any = app.test_client()
    assert isinstance(client, decant.testing.Client)
    assert (await client.get("/")).json == {"a": 1}
    assert (await client.get("/openapi.json")).json["paths"]["/"]


async def test_the_documentation_has_all_in_files_of_ours(app: Quart) -> None:
    """No script or style in the page, none from elsewhere, and every file exists."""
    client = app.test_client()
    page = await client.get("/api/docs")
    text = page.get_data(as_text=True)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == ["", ""]
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
    assert len(files) == 6
    for file in files:
        assert (await client.get(file.replace("&amp;", "&"))).status_code == 200
    assert "csrf-token" not in text


async def test_whoever_is_logged_in_tries_out_with_the_session(page_of_ada: tuple[str, Caller]) -> None:
    """The documentation knows the CSRF token, and it is the right one."""
    text, script = page_of_ada
    found = re.search(r'name="csrf-token" content="([^"]+)"', text)
    assert found
    assert (await script.post("/tokens", json={"name": "x"}, headers={"X-CSRF-Token": found[1]})).status_code == 201


@pytest.fixture
async def page_of_ada(person: Any, description: Description) -> tuple[str, Caller]:
    somebody = person()
    await somebody.register("ada")
    page = await somebody.get("/api/docs")
    return page.get_data(as_text=True), Caller(somebody.client, description)
