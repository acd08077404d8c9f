from shortener.extensions import db
from shortener.models import User


def test_who_registers_is_logged_in(app, client):
    answer = client.post("/register", data={"username": "Grace", "password": "correct horse"})
    assert (answer.status_code, answer.location) == (303, "/links/new")
    assert b"Welcome, grace" in client.get("/links/new").data
    with app.app_context():
        user = User.query.filter_by(username="grace").one()
        assert user.password_hash.startswith("pbkdf2:")
        assert user.links.count() == 0


def test_a_name_is_taken_in_any_case(client, ada):
    answer = client.post("/register", data={"username": "ADA", "password": "correct horse"})
    assert answer.status_code == 422
    assert "The user name ada is taken" in answer.text


def test_simple_passwords_are_refused(client):
    for password in ("short", "password123", "margaret1", "aaaaaaaaaaaa"):
        assert client.post("/register", data={"username": "margaret", "password": password}).status_code == 422


def test_a_wrong_password_and_an_unknown_name_are_told_alike(client, ada):
    wrong = client.post("/login", data={"username": "ada", "password": "wrong"})
    unknown = client.post("/login", data={"username": "eve", "password": "wrong"})
    assert wrong.status_code == unknown.status_code == 422
    assert wrong.text.replace("ada", "eve") == unknown.text


def test_a_log_in_leads_to_this_site_only(client, ada):
    data = {"username": "ada", "password": "correct horse", "next": "//evil.example/"}
    assert client.post("/login", data=data).location == "/links"
    client.post("/logout")
    assert client.post("/login", data={**data, "next": "/account"}).location == "/account"


def test_log_ins_to_one_account_are_limited(app, client, ada):
    statuses = [client.post("/login", data={"username": "ada", "password": "wrong"}).status_code for _ in range(11)]
    assert statuses == [422] * 10 + [429]
    assert client.post("/login", data={"username": "eve", "password": "wrong"}).status_code == 422


def test_a_new_password_ends_other_sessions(app, browser):
    other = app.test_client()
    other.post("/login", data={"username": "ada", "password": "correct horse"})
    data = {"current_password": "correct horse", "new_password": "another horse"}
    assert browser.post("/account/password", data=data).location == "/account"
    assert browser.get("/account").status_code == 200
    assert other.get("/account").location.startswith("/login")


def test_a_token_is_shown_once(app, browser, ada):
    answer = browser.post("/account/tokens", data={"name": "Backup"})
    assert answer.status_code == 201
    secret = answer.text.split('id="secret" readonly value="')[1].split('"')[0]
    assert secret not in browser.get("/account").text
    assert app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).json["username"] == "ada"
    with app.app_context():
        assert secret not in str(db.session.get(User, ada).tokens[0].__dict__)


def test_forms_need_their_token(app, ada):
    app.config["WTF_CSRF_ENABLED"] = True
    try:
        answer = app.test_client().post("/login", data={"username": "ada", "password": "correct horse"})
    finally:
        app.config["WTF_CSRF_ENABLED"] = False
    assert answer.status_code == 400
