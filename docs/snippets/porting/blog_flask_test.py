import pytest
from blog_flask import User, create_app, db


@pytest.fixture
def client():
    app = create_app()
    with app.app_context():
        db.create_all()
        db.session.add(User(username="ada"))
        db.session.commit()
    return app.test_client()


def test_what_is_written_is_shown(client):
    response = client.post("/blog/ada", data={"title": "Notes"}, follow_redirects=True)
    assert response.text == "ada: Notes"
    assert client.get("/blog/bob").status_code == 404
