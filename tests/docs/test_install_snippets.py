"""The snippets of docs/install.md and docs/proxies.md do what the pages say."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.toys import Running
from tests.flask.programs import ROOT, run_program

FOLDER = ROOT / "docs" / "snippets"

ASK = """
import sys, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, ".")
from faced import app
from shop import db

with app.app_context():
    db.create_all()
client = app.test_client()
product = client.post("/products", data={"name": "tea"}).json["id"]
print(client.get("/products").json)
job = client.post(f"/products/{product}/rename", data={"name": "coffee"}).json["job"]
while client.get(f"/jobs/{job}").json["state"] not in ("SUCCESS", "FAILURE"):
    time.sleep(0.05)
print(client.get(f"/jobs/{job}").json, client.get("/products").json)
"""


def test_a_shop_with_the_faces_and_its_worker(redis_url: str, tmp_path: Path) -> None:
    environment = {"REDIS_URL": redis_url, "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}", "PYTHONPATH": str(ROOT)}
    worker = Running(["worker", "--faces", "shop:celery"], FOLDER / "install", environment)
    try:
        worker.expect(r"worker \S+ is ready: ")
        out = run_program(ASK, cwd=FOLDER / "install", **environment)
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0
    finally:
        worker.process.kill()
        worker.process.wait()
        worker.reader.join(10)
        if worker.process.stdout is not None:
            worker.process.stdout.close()
    assert out.splitlines() == ["['tea']", "{'name': 'coffee', 'state': 'SUCCESS'} ['tea']"], "which is cached"


@pytest.fixture
def login_app() -> Any:
    spec = importlib.util.spec_from_file_location("proxies_login", FOLDER / "proxies_login.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _ = module.app.test_client_class
    return module.app


async def test_logging_in(login_app: Any) -> None:
    client = login_app.test_client()
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=%2F")
    page = await client.get("/login")
    token = re.search(r'value="([^"]+)"', page.text)
    assert token is not None
    assert (await client.post("/login", data={"name": "ada"})).status_code == 400
    given = {"name": "ada", "csrf_token": token[1]}
    assert (await client.post("/login", data=given)).headers["Location"] == "/"
    assert (await client.get("/")).text == "Hello, Ada Lovelace"
    left = await client.post("/logout", headers={"X-CSRFToken": token[1]})
    assert left.text == "Goodbye, Ada Lovelace"
    assert (await client.get("/")).status_code == 302
    await asyncio.sleep(0)
