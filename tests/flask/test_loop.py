"""Views of an unmodified Flask-SQLAlchemy application on the event loop and in threads, on PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Literal

import flask
import psycopg
import pytest
from flask.views import MethodView, View
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, exc, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from decant.bridge import in_thread, wait
from decant.errors import ConfigError
from decant.flask import asgi, blocking
from tests.flask.loop_asking import ask, ask_all, async_drivers
from tests.serving import Peer, serve

Mode = Literal["threads", "loop"]
MODES: list[Mode] = ["threads", "loop"]
modes = pytest.mark.parametrize("mode", MODES)


class Shop:
    """As it is written for Gunicorn: 2.0-style queries, ``Model.query``, a lazy relationship in a template."""

    def __init__(self, url: str, **engine_options: Any) -> None:
        self.app = app = flask.Flask("shop")
        app.config["SQLALCHEMY_DATABASE_URI"] = url
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options
        self.db = db = SQLAlchemy()

        class Customer(db.Model):  # type: ignore[name-defined,misc]
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]
            orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id")

        class Order(db.Model):  # type: ignore[name-defined,misc]
            id: Mapped[int] = mapped_column(primary_key=True)
            customer_id: Mapped[int] = mapped_column(ForeignKey(Customer.id))
            customer: Mapped[Customer] = relationship(back_populates="orders")
            text: Mapped[str]

        Customer.__mapper__.registry._class_registry.update(Order=Order)
        self.Customer, self.Order = Customer, Order
        self.torn_down: list[BaseException | None] = []
        self.reached = threading.Event()
        self.arrived: list[int] = []
        db.init_app(app)
        self._add_views()
        with app.app_context():
            db.create_all()
            db.session.add(Customer(name="Ada", orders=[Order(text="tea"), Order(text="cups")]))
            db.session.commit()

    def _add_views(self) -> None:
        app, db, Customer, Order = self.app, self.db, self.Customer, self.Order
        app.teardown_request(self.torn_down.append)

        @app.get("/modern")
        def modern() -> Any:
            customers = db.session.scalars(select(Customer).order_by(Customer.id))
            return flask.render_template_string(
                "{% for c in customers %}{{ c.name }}:{% for o in c.orders %}{{ o.text }},{% endfor %}{% endfor %}",
                customers=customers,
            )

        @app.get("/legacy")
        def legacy() -> Any:
            order = Order.query.filter_by(text="cups").first_or_404()
            return {"customer": order.customer.name, "orders": [o.text for o in order.customer.orders]}

        @app.get("/own/<int:number>")
        def own(number: int) -> Any:
            db.session.add(Customer(name=f"{number}"))
            db.session.flush()
            session = db.session()
            self.arrived.append(number)
            db.session.execute(text("SELECT pg_advisory_xact_lock_shared(1)"))
            names = [c.name for c in Customer.query.filter(Customer.name != "Ada")]
            return {"names": names, "same": session is db.session()}

        @app.get("/slow")
        def slow() -> Any:
            db.session.add(Customer(name="never"))
            db.session.flush()
            self.reached.set()
            db.session.execute(text("SELECT pg_sleep(30)"))
            return "slept"

        @app.get("/fail")
        def fail() -> Any:
            db.session.add(Customer(name="never"))
            db.session.flush()
            raise RuntimeError("a view's own")

        @app.get("/plain")
        def plain() -> Any:
            return "plain"

        @app.errorhandler(exc.TimeoutError)
        def exhausted(error: Any) -> Any:
            return "no connection", 503

    def names(self) -> list[str]:
        with self.app.app_context():
            return [customer.name for customer in self.Customer.query.order_by("id")]

    def pool(self) -> Any:
        with self.app.app_context():
            return self.db.engine.pool


@pytest.fixture
def make_shop(database_url: str) -> Iterator[Callable[..., Shop]]:
    made: list[Shop] = []

    def make(**engine_options: Any) -> Shop:
        made.append(Shop(database_url, **engine_options))
        return made[-1]

    with async_drivers():
        yield make
    for shop in made:
        shop.pool().dispose()


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop(pool_size=10, max_overflow=40, pool_pre_ping=True, pool_recycle=300)


@asynccontextmanager
async def served(app: flask.Flask, mode: Mode, **options: Any) -> AsyncIterator[str]:
    async with serve(asgi(app, views=mode, **options)) as url:
        yield url


@modes
async def test_queries_of_both_styles_and_lazy_loads_in_templates(shop: Shop, mode: Mode) -> None:
    async with served(shop.app, mode) as url:
        assert await ask(url, "/modern") == (200, "Ada:tea,cups,")
        assert (await ask(url, "/legacy"))[1].split() == ['{"customer":"Ada","orders":["tea","cups"]}']


@modes
async def test_fifty_requests_at_once_have_fifty_sessions_and_transactions(shop: Shop, mode: Mode) -> None:
    """All wait in the database for one lock before one goes on, and none sees what another has not committed."""
    gate = await asyncio.to_thread(psycopg.connect, str(shop.app.config["SQLALCHEMY_DATABASE_URI"]), autocommit=True)
    await asyncio.to_thread(gate.execute, "SELECT pg_advisory_lock(1)")
    async with served(shop.app, mode, threads=50) as url:
        asking = asyncio.create_task(ask_all(url, [f"/own/{number}" for number in range(50)]))
        try:
            async with asyncio.timeout(60):
                while len(shop.arrived) < 50:
                    await asyncio.sleep(0.01)
        finally:
            await asyncio.to_thread(gate.close)
        answers = await asking
    found = [flask.json.loads(body) for status, body in answers if status == 200]
    assert found == [{"names": [str(number)], "same": True} for number in range(50)]
    assert await asyncio.to_thread(shop.names) == ["Ada"]
    assert len(shop.torn_down) == 50


@modes
async def test_a_client_that_goes_away_ends_the_query_and_the_transaction(shop: Shop, mode: Mode) -> None:
    async with served(shop.app, mode) as url:
        host, port = url.removeprefix("http://").split(":")
        async with Peer.connect((host, int(port))) as peer:
            await peer.get("/slow")
            assert await asyncio.to_thread(shop.reached.wait, 30)
            peer.abort()
        async with asyncio.timeout(30):
            while not shop.torn_down or shop.pool().checkedout():
                await asyncio.sleep(0.01)
        assert await ask(url, "/modern") == (200, "Ada:tea,cups,")
        assert isinstance(shop.torn_down[0], asyncio.CancelledError)
    assert await asyncio.to_thread(shop.names) == ["Ada"]


@modes
async def test_a_view_that_fails_is_answered_and_rolled_back(shop: Shop, mode: Mode) -> None:
    async with served(shop.app, mode) as url:
        assert (await ask(url, "/fail"))[0] == 500
        assert shop.pool().checkedout() == 0
        assert (await ask(url, "/plain")) == (200, "plain")
    assert await asyncio.to_thread(shop.names) == ["Ada"]


@modes
async def test_a_pool_that_is_exhausted_fails_who_waits_and_nobody_else(
    make_shop: Callable[..., Shop], mode: Mode
) -> None:
    shop = await asyncio.to_thread(make_shop, pool_size=1, max_overflow=0, pool_timeout=0.3)
    async with served(shop.app, mode) as url:
        host, port = url.removeprefix("http://").split(":")
        async with Peer.connect((host, int(port))) as peer:
            await peer.get("/slow")
            assert await asyncio.to_thread(shop.reached.wait, 30)
            waiting = asyncio.create_task(ask(url, "/modern"))
            assert await ask(url, "/plain") == (200, "plain")
            assert await waiting == (503, "no connection")
            peer.abort()
        async with asyncio.timeout(30):
            while shop.pool().checkedout():
                await asyncio.sleep(0.01)
        assert await ask(url, "/modern") == (200, "Ada:tea,cups,")


# -- where a view runs ---------------------------------------------------------------------------------------------


def where() -> str:
    return "loop" if asyncio._get_running_loop() is not None else "thread"


def answer(**arguments: Any) -> str:
    return f"{flask.g.hook} {where()}"


def named(name: str) -> Any:
    @wraps(answer)
    def view(**arguments: Any) -> str:
        return answer()

    view.__name__ = name
    return view


class Methods(MethodView):
    def get(self) -> str:
        return answer()

    @blocking
    def post(self) -> str:
        return answer()


@blocking
class Whole(View):
    def dispatch_request(self) -> str:
        return answer()


class Child(Whole):
    pass


class Decorated(View):
    decorators = [blocking]

    def dispatch_request(self) -> str:
        return answer()


def decorated(view: Any) -> Any:
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


@pytest.fixture
def places() -> flask.Flask:
    """Each view answers with where it, and a hook before it, have run."""
    app = flask.Flask("places")

    @app.before_request
    def note() -> None:
        flask.g.hook = where()

    app.add_url_rule("/plain", view_func=named("plain"))
    app.add_url_rule("/outer", view_func=blocking(decorated(named("outer"))))
    app.add_url_rule("/inner/<int:number>", view_func=decorated(decorated(blocking(named("inner")))))
    app.add_url_rule("/listed", view_func=named("listed"))

    app.add_url_rule("/methods", view_func=Methods.as_view("methods"))
    for kind in (Whole, Child, Decorated):
        app.add_url_rule(f"/{kind.__name__.lower()}", view_func=kind.as_view(kind.__name__.lower()))
    marked, inner = blocking(flask.Blueprint("marked", __name__)), flask.Blueprint("inner", __name__)
    starred = flask.Blueprint("starred", __name__)
    for blueprint in (marked, inner, starred):
        blueprint.add_url_rule("/view", view_func=named("view"))
    marked.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(marked, url_prefix="/marked")
    app.register_blueprint(starred, url_prefix="/starred")
    app.config["DECANT_BLOCKING_VIEWS"] = ["listed", "starred.*"]
    return app


async def test_views_run_on_the_loop_unless_marked_or_listed(places: flask.Flask) -> None:
    on_loop = ["/plain", "/methods"]
    in_threads = ["/outer", "/inner/3", "/listed", "/whole", "/child", "/decorated"]
    in_threads += ["/marked/view", "/marked/inner/view", "/starred/view"]
    async with served(places, "loop") as url:
        assert {path: await ask(url, path) for path in on_loop} == dict.fromkeys(on_loop, (200, "loop loop"))
        assert {path: await ask(url, path) for path in in_threads} == dict.fromkeys(in_threads, (200, "thread thread"))
        assert await ask(url, "/methods", "POST") == (200, "thread thread"), "one method of a class"
        assert (await ask(url, "/nowhere"))[0] == 404
        assert (await ask(url, "/inner/word"))[0] == 404


async def test_all_views_run_in_threads_by_default(places: flask.Flask) -> None:
    async with served(places, "threads") as url:
        assert await ask(url, "/plain") == (200, "thread thread")
        assert await ask(url, "/outer") == (200, "thread thread")


@modes
async def test_what_a_view_sends_to_a_thread_takes_one_of_the_applications(mode: Mode) -> None:
    app = flask.Flask("pool", root_path="/", instance_path="/instance")
    shim = asgi(app, views=mode, threads=3)
    app.add_url_rule("/", view_func=lambda: f"{wait(in_thread(lambda: shim.threads.busy))}")
    async with serve(shim) as url:
        assert await ask(url, "/") == (200, "1")


@pytest.mark.parametrize("names", [["nowhere"], ["gone.*"], "plain", [3]])
def test_what_is_listed_has_to_be_there(places: flask.Flask, names: Any) -> None:
    places.config["DECANT_BLOCKING_VIEWS"] = names
    with pytest.raises(ConfigError, match="DECANT_BLOCKING_VIEWS"):
        asgi(places, views="loop").placing.check()


def test_an_async_view_cannot_be_sent_to_a_thread() -> None:
    async def view() -> str:
        return ""

    with pytest.raises(TypeError, match=r"view is async: .* asyncio.to_thread"):
        blocking(view)


def test_what_takes_no_mark_is_to_be_listed() -> None:
    with pytest.raises(TypeError, match="list its endpoint in DECANT_BLOCKING_VIEWS"):
        blocking(len)


# -- async def -----------------------------------------------------------------------------------------------------


@pytest.fixture
def asynchronous() -> flask.Flask:
    app = flask.Flask("asynchronous")

    def here(name: str) -> None:
        loops = app.extensions.setdefault("loops", {})
        loops[name] = (asyncio.get_running_loop(), flask.request.path)

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)
        here("before_request")

    @app.after_request
    async def after(response: flask.Response) -> flask.Response:
        here("after_request")
        return response

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        here("teardown_request")

    @app.errorhandler(LookupError)
    async def handle(error: LookupError) -> tuple[str, int]:
        await asyncio.sleep(0)
        here("errorhandler")
        return "handled", 418

    @app.get("/view")
    async def view() -> str:
        both = await asyncio.gather(asyncio.sleep(0.01, "a"), asyncio.sleep(0.01, "b"))
        here("view")
        return "".join(both)

    @app.get("/raise")
    async def fail() -> str:
        raise KeyError("what")

    return app


@modes
async def test_async_functions_are_awaited_on_the_serving_loop(asynchronous: flask.Flask, mode: Mode) -> None:
    """Flask's own way is a loop per call, in which nothing of the application's can be shared."""
    async with served(asynchronous, mode) as url:
        assert await ask(url, "/view") == (200, "ab")
        assert await ask(url, "/raise") == (418, "handled")
        loops = asynchronous.extensions["loops"]
    loop = asyncio.get_running_loop()
    assert loops == {
        "view": (loop, "/view"),
        **dict.fromkeys(("before_request", "after_request", "teardown_request", "errorhandler"), (loop, "/raise")),
    }


def test_async_views_still_work_with_flasks_own_client(asynchronous: flask.Flask) -> None:
    asgi(asynchronous)
    assert asynchronous.test_client().get("/view").text == "ab"


def test_an_application_with_a_way_of_its_own_keeps_it() -> None:
    class Own(flask.Flask):
        def async_to_sync(self, func: Any) -> Any:
            return lambda: "my own"

    app = Own("own")
    app.add_url_rule("/", view_func=asynchronous_nothing)
    assert asgi(app).test_client().get("/").text == "my own"


async def asynchronous_nothing() -> str:
    return ""
