"""The redirect, in the way in which the first tests of this application were written."""

# ruff: noqa: PT009

import time
import unittest
from datetime import timedelta

from shortener import create_app
from shortener.extensions import cache, db, socketio
from shortener.models import Link, User, utcnow


class RedirectTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.app = create_app("testing")

    def setUp(self):
        self.context = self.app.app_context()
        self.context.push()
        db.create_all()
        cache.clear()
        self.user = User(username="grace", session_epoch=0)
        self.user.set_password("correct horse")
        db.session.add(self.user)
        db.session.commit()
        self.client = self.app.test_client()

    def tearDown(self):
        db.session.remove()
        db.drop_all()
        self.context.pop()

    def link(self, **fields):
        link = Link(owner=self.user, target="https://example.com/", **fields)
        db.session.add(link)
        db.session.commit()

    def test_it_leads_on_and_is_counted(self):
        self.link(slug="minutes")
        answer = self.client.get("/minutes")
        self.assertEqual(answer.status_code, 302)
        self.assertEqual(answer.location, "https://example.com/")
        self.assertIn("no-store", answer.headers["Cache-Control"])
        self.assertNotIn("Set-Cookie", answer.headers)
        self.client.head("/minutes")
        db.session.expire_all()
        self.assertEqual(Link.query.filter_by(slug="minutes").one().visits, 1)

    def test_visits_are_used_up(self):
        self.link(slug="twice", max_visits=2)
        self.assertEqual([self.client.get("/twice").status_code for _ in range(3)], [302, 302, 410])

    def test_it_expires(self):
        self.link(slug="over", expires_at=utcnow() - timedelta(seconds=1))
        self.assertEqual(self.client.get("/over").status_code, 410)

    def test_there_is_none(self):
        self.assertEqual(self.client.get("/nobody-has-it").status_code, 404)

    def test_open_pages_are_told(self):
        self.link(slug="live")
        self.client.post("/login", data={"username": "grace", "password": "correct horse"})
        page = socketio.test_client(self.app, flask_test_client=self.client)
        self.assertEqual(page.emit("watch", ["live", "other", 7], callback=True), ["live"])
        self.client.get("/live")
        received, deadline = [], time.monotonic() + 30
        while not received and time.monotonic() < deadline:  # told from a thread, after the answer
            received = page.get_received()
            socketio.sleep(0.01)
        self.assertEqual(received[0]["args"], [{"slug": "live", "clicks": 1}])

    def test_only_who_is_logged_in_is_told(self):
        page = socketio.test_client(self.app, flask_test_client=self.client)
        self.assertFalse(page.is_connected())
