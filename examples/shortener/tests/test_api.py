import io
import time

import pytest
from shortener.models import ApiToken
from sqlalchemy.exc import OperationalError


def test_a_link_is_made_changed_and_deleted(client, headers):
    sent = {"target": "HTTPS://Example.COM:443", "slug": "minutes", "tags": ["b", "A"], "max_visits": 5}
    made = client.post("/api/v1/links", json=sent, headers=headers)
    assert (made.status_code, made.location) == (201, "/api/v1/links/minutes")
    assert made.json["target"] == "https://example.com/"
    assert made.json["tags"] == ["a", "b"]
    changed = client.patch(made.location, json={"title": "Minutes", "max_visits": None}, headers=headers)
    assert (changed.json["title"], changed.json["max_visits"]) == ("Minutes", None)
    assert client.post("/api/v1/links", json=sent, headers=headers).status_code == 409
    assert client.delete(made.location, headers=headers).status_code == 204
    assert client.get(made.location, headers=headers).status_code == 404


def test_each_field_that_is_wrong_has_a_pointer(client, headers):
    sent = {"target": 7, "slug": "api", "tags": ["a,b"], "max_visits": True, "expires_at": "2031-01-01T00:00", "x": 1}
    answer = client.post("/api/v1/links", json=sent, headers=headers)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    pointers = {error["pointer"] for error in answer.json["errors"]}
    assert pointers == {"#/target", "#/slug", "#/tags/0", "#/max_visits", "#/expires_at", "#/x"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"target": NaN}', b'{"x": 1, "x": 2}', b"[" * 100_000])
def test_what_is_no_json(client, headers, body):
    answer = client.post("/api/v1/links", data=body, content_type="application/json", headers=headers)
    assert answer.status_code == 400


def test_a_body_in_chunks_is_not_cut_off(app, client, headers):
    body = b'{"target": "https://example.com/' + b"x" * app.config["MAX_CONTENT_LENGTH"] + b'"}'
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = client.post(
        "/api/v1/links",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        headers=headers,
        environ_overrides=environ,
    )
    assert answer.status_code == 413


def test_pages_lead_on(client, headers):
    for number in range(5):
        client.post("/api/v1/links", json={"target": f"https://example.com/{number}"}, headers=headers)
    url, targets = "/api/v1/links?limit=2", []
    while url:
        page = client.get(url, headers=headers).json
        targets += [link["target"][-1] for link in page["items"]]
        url = page["next"]
    assert targets == ["4", "3", "2", "1", "0"]
    assert client.get("/api/v1/links?limit=0", headers=headers).status_code == 422


def test_tokens_are_needed(client, headers, browser):
    assert client.get("/api/v1/me", headers=headers).json["username"] == "ada"
    refused = browser.get("/api/v1/me", headers={"Authorization": "Bearer nobody's"})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert browser.post("/api/v1/links", json={"target": "https://example.com/"}).status_code == 403


def test_the_api_is_limited_by_token(app, client, headers):
    app.config["RATE_API"] = "2 per minute"
    try:
        answers = [client.get("/api/v1/me", headers=headers) for _ in range(3)]
    finally:
        app.config["RATE_API"] = "600 per minute"
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert 0 <= int(answers[2].headers["Retry-After"]) <= 60
    assert "Retry-After" not in answers[0].headers


def test_two_numbers_are_added(client, headers):
    accepted = client.post("/api/v1/add", json={"x": 2, "y": 0.5}, headers=headers)
    assert accepted.status_code == 202
    deadline = time.monotonic() + 30
    while (job := client.get(accepted.location, headers=headers).json)["state"] != "SUCCESS":
        assert time.monotonic() < deadline
    assert job["result"] == 2.5
    assert client.post("/api/v1/add", json={"x": "2", "y": True}, headers=headers).status_code == 422


def test_clicks_by_day(client, headers):
    client.post("/api/v1/links", json={"target": "https://example.com/", "slug": "minutes"}, headers=headers)
    for _ in range(3):
        client.get("/minutes")
    client.head("/minutes")
    clicks = client.get("/api/v1/links/minutes/clicks", headers=headers).json
    assert (clicks["total"], len(clicks["days"])) == (3, 30)
    assert sum(day["clicks"] for day in clicks["days"][-2:]) == 3  # the day may have ended meanwhile
    assert client.get("/api/v1/links/minutes/clicks?from=2026-02-30", headers=headers).status_code == 422


def test_a_database_that_is_away_is_503(app, client, headers, monkeypatch):
    def away(*args, **kwargs):
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr(ApiToken, "find_user", away)
    answer = client.get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.mimetype == "application/problem+json"
