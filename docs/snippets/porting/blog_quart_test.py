import pytest
from blog_quart import User, create_app, db


@pytest.fixture
async def client():
    app = create_app()
    async with app.app_context():
        await db.create_all()
        db.session.add(User(username="ada"))
        await db.session.commit()
    return app.test_client()


async def test_what_is_written_is_shown(client):
    response = await client.post("/blog/ada", data={"title": "Notes"}, follow_redirects=True)
    assert response.text == "ada: Notes"
    assert (await client.get("/blog/bob")).status_code == 404
