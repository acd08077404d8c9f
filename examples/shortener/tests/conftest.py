import pytest
from shortener import create_app
from shortener.extensions import cache, db, limiter
from shortener.models import ApiToken, User


@pytest.fixture(scope="session")
def app():
    return create_app("testing")


@pytest.fixture(autouse=True)
def tables(app):
    with app.app_context():
        db.create_all()
        cache.clear()
        limiter.reset()
    yield
    with app.app_context():
        db.session.remove()
        db.drop_all()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def ada(app):
    """A user's id."""
    with app.app_context():
        user = User(username="ada", session_epoch=0)
        user.set_password("correct horse")
        db.session.add(user)
        db.session.commit()
        return user.id


@pytest.fixture
def browser(client, ada):
    """A client in which ada is logged in."""
    client.post("/login", data={"username": "ada", "password": "correct horse"})
    return client


@pytest.fixture
def headers(app, ada):
    """What a program of ada's sends."""
    with app.app_context():
        _, secret = ApiToken.make(db.session.get(User, ada), "tests")
    return {"Authorization": f"Bearer {secret}"}
