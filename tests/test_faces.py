"""Faces of toy classes of every shape, each used in a script, in a bridge on the loop, and in a thread."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import threading
from collections import namedtuple
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import flask
import pytest

from decant.bridge import bridged, in_thread, wait
from decant.faces import called, face, faced, io_method, io_property, twin_of

T = TypeVar("T")
Pair = namedtuple("Pair", "first second")
variable: ContextVar[str] = ContextVar("variable", default="unset")
Anywhere = Callable[[Callable[[], Any]], Any]


@pytest.fixture(params=["script", "bridge", "thread"])
def anywhere(request: pytest.FixtureRequest) -> Anywhere:
    """Runs synchronous code with no loop, in a bridge on the loop, or in a thread that may wait."""

    async def in_bridge(scenario: Callable[[], Any]) -> Any:
        return scenario()

    runs: dict[str, Anywhere] = {
        "script": lambda scenario: scenario(),
        "bridge": lambda scenario: asyncio.run(bridged(in_bridge(scenario))),
        "thread": lambda scenario: asyncio.run(in_thread(scenario)),
    }
    return runs[request.param]


class Item:
    """A twin that other twins return."""

    def __init__(self, number: int) -> None:
        self.number = number

    @io_method
    async def read(self) -> int:
        await asyncio.sleep(0)
        return self.number


class Base:
    @io_method
    async def ping(self) -> str:
        """Says pong."""
        await asyncio.sleep(0)
        return "pong"


class Store(Base):
    """A store of items."""

    KIND = "store"
    Missing = KeyError

    def __init__(self, name: str, *, size: int = 3) -> None:
        self.name, self.size = name, size
        self.handlers: list[Callable[..., Any]] = []
        self.log: list[str] = []
        self._secret = "s"
        self.lock_object = asyncio.Lock

    # methods
    @io_method
    async def get(self, key: str, default: str | None = None) -> str:
        """Gets a value."""
        await asyncio.sleep(0)
        if key == "missing":
            raise KeyError(key)
        return f"{self.name}:{key}"

    @io_method
    def future(self) -> Awaitable[str]:
        return asyncio.ensure_future(self.get("future"))

    async def unmarked(self) -> str:
        return await self.get("unmarked")

    def plain(self, x: int) -> int:
        return x + 1

    @staticmethod
    async def static(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    @classmethod
    @io_method
    async def opened(cls, name: str) -> Store:
        await asyncio.sleep(0)
        return cls(name)

    def __call__(self, key: str) -> Awaitable[str]:
        return self.get(key)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Item:
        return Item(number)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Item)

    def __or__(self, other: Store) -> Store:
        return Store(self.name + other.name)

    # properties
    @io_property
    async def state(self) -> str:
        """Open or closed."""
        await asyncio.sleep(0)
        return f"{self.name} is open"

    @io_property
    async def first(self) -> Item:
        return Item(1)

    @state.setter
    def state(self, value: str) -> None:
        self.log.append(f"state {value}")

    @property
    def title(self) -> str:
        """In capitals."""
        return self.name.title()

    @title.setter
    def title(self, value: str) -> None:
        self.name = value.lower()

    @functools.cached_property
    def item(self) -> Item:
        return Item(7)

    # context managers and iterators
    async def __aenter__(self) -> Store:
        await asyncio.sleep(0)
        self.log.append("enter")
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        await asyncio.sleep(0)
        self.log.append(f"exit {kind.__name__ if kind else None}")
        return kind is ZeroDivisionError

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[Item]:
        token = variable.set(name)
        await asyncio.sleep(0)
        try:
            yield Item(5)
        except KeyError:
            self.log.append("KeyError inside")
            raise
        finally:
            variable.reset(token)
            self.log.append("unlocked")

    async def __aiter__(self) -> AsyncIterator[Item]:
        for number in range(self.size):
            await asyncio.sleep(0)
            yield Item(number)

    async def items(self, count: int) -> AsyncIterator[Any]:
        try:
            for number in range(count):
                await asyncio.sleep(0)
                got = yield Item(number)
                if got is not None:
                    self.log.append(f"sent {got}")
        finally:
            await asyncio.sleep(0)
            self.log.append("closed")

    # what is returned
    async def nested(self) -> dict[str, Any]:
        return {"list": [Item(1), Item(2)], "tuple": (Item(3), 4), "pair": Pair(Item(5), 6)}

    async def numbers(self) -> list[int]:
        return self.fixed

    fixed = [1, 2, 3]

    def getter(self) -> Callable[[str], Awaitable[str]]:
        return self.get

    # callbacks
    @io_method
    async def compute(self, function: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)
        return await called(function, *args)

    def on_event(self, function: T) -> T:
        self.handlers.append(function)  # type: ignore[arg-type]
        return function

    async def fire(self, *args: Any) -> list[Any]:
        return [await called(handler, *args) for handler in self.handlers]

    async def same(self, other: Any) -> bool:
        return other is self and type(other) is Store

    # decorators
    def cached(self, prefix: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                await asyncio.sleep(0)
                return prefix, await called(function, *args, **kwargs), wrapper.timeout_s  # type: ignore[attr-defined]

            wrapper.timeout_s = 1  # type: ignore[attr-defined]
            self.wrapper = wrapper
            return wrapper

        return decorate

    async def forget(self, function: Any) -> bool:
        return function is self.wrapper


FaceStore = face(Store)


def test_methods_return_values(anywhere: Anywhere) -> None:
    """Coroutine functions, marked or not, methods that return an awaitable, plain ones, and exceptions."""

    def scenario() -> None:
        store = FaceStore("a", size=2)
        assert store.get("k") == "a:k"
        assert store.get(key="k", default="d") == "a:k"
        assert store.future() == "a:future"
        assert store.unmarked() == "a:unmarked"
        assert store.plain(1) == 2
        assert store.ping() == "pong"
        assert store("called") == "a:called"
        with pytest.raises(KeyError, match="missing") as caught:
            store.get("missing")
        assert caught.value.__context__ is None

    anywhere(scenario)


def test_static_and_class_methods(anywhere: Anywhere) -> None:
    """On the class and on an instance; a class method that makes a twin makes a face."""

    def scenario() -> None:
        assert FaceStore.static(2) == FaceStore("a").static(2) == 4
        opened = FaceStore.opened("b")
        assert isinstance(opened, FaceStore)
        assert opened.get("k") == "b:k"
        assert FaceStore("a").opened("c").name == "c"

    anywhere(scenario)


def test_properties_are_plain_values(anywhere: Anywhere) -> None:
    """io_property awaited; others as they are; setters set the twin's."""

    def scenario() -> None:
        store = FaceStore("a")
        assert store.state == "a is open"
        assert store.first.read() == 1
        store.state = "closed"
        assert store.log == ["state closed"]
        assert store.title == "A"
        store.title = "NEW"
        assert (store.name, twin_of(store).name) == ("new", "new")
        assert store.item.read() == 7
        store.anything = store
        assert twin_of(store).anything is twin_of(store)
        del store.anything
        assert not hasattr(store, "anything")

    anywhere(scenario)


def test_operators(anywhere: Anywhere) -> None:
    """len, [], in and | as the twin has them; what comes out is a face, and a face may go in."""

    def scenario() -> None:
        store = FaceStore("a", size=2)
        assert len(store) == 2
        assert store[4].read() == 4
        assert store[4] in store
        assert (store | FaceStore("b")).name == "ab"

    anywhere(scenario)


def test_async_with_is_with(anywhere: Anywhere) -> None:
    """The twin itself and its methods; exceptions go in, may be swallowed, and variables are seen in between."""

    def scenario() -> None:
        store = FaceStore("a")
        with store as entered:
            assert entered == store
        with store:
            raise ZeroDivisionError
        with pytest.raises(KeyError), store:
            raise KeyError
        assert store.log == ["enter", "exit None", "enter", "exit ZeroDivisionError", "enter", "exit KeyError"]
        with pytest.raises(KeyError), store.lock("locked") as item:
            assert item.read() == 5
            assert variable.get() == "locked"
            raise KeyError("x")
        assert variable.get() == "unset"
        assert store.log[-2:] == ["KeyError inside", "unlocked"]

    anywhere(scenario)


def test_a_context_manager_decorates_a_sync_function(anywhere: Anywhere) -> None:
    """As contextlib's do: entered anew for each call."""

    def scenario() -> None:
        store = FaceStore("a")

        @store.lock("decorated")
        def work(x: int) -> tuple[int, str]:
            return wait(asyncio.sleep(0, x)), variable.get()

        assert [work(1), work(2)] == [(1, "decorated"), (2, "decorated")]
        assert store.log == ["unlocked", "unlocked"]

    anywhere(scenario)


def test_async_for_is_for(anywhere: Anywhere) -> None:
    """The twin itself and its async generators, whose send(), throw() and close() work too."""

    def scenario() -> None:
        store = FaceStore("a", size=3)
        assert [item.read() for item in store] == [0, 1, 2]
        assert [item.read() for item in store.items(2)] == [0, 1]
        with closing(store.items(9)) as items:
            assert next(items).read() == 0
            assert items.send("x").read() == 1
        assert store.log == ["closed", "sent x", "closed"]
        items = store.items(9)
        next(items)
        with pytest.raises(KeyError, match="thrown"):
            items.throw(KeyError("thrown"))
        assert store.log[-1] == "closed"
        assert list(items) == []

    anywhere(scenario)


def test_returned_twins_are_faces(anywhere: Anywhere) -> None:
    """In lists, tuples, named tuples and dictionaries; a container without any comes back as the same object."""

    def scenario() -> None:
        store = FaceStore("a")
        nested = store.nested()
        assert [item.read() for item in nested["list"]] == [1, 2]
        assert (nested["tuple"][0].read(), nested["tuple"][1]) == (3, 4)
        assert isinstance(nested["pair"], Pair)
        assert (nested["pair"].first.read(), nested["pair"].second) == (5, 6)
        assert store.numbers() is Store.fixed
        assert store.getter()("k") == "a:k"

    anywhere(scenario)


def test_callbacks_run_where_the_caller_waits(anywhere: Anywhere) -> None:
    """In the caller's thread, where they may wait, see its variables and may use the face again."""

    def scenario() -> None:
        store = FaceStore("a")
        variable.set("caller")

        def work(x: int) -> Any:
            return threading.get_ident(), wait(asyncio.sleep(0, x)), variable.get(), store.get("inner")

        assert store.compute(work, 3) == (threading.get_ident(), 3, "caller", "a:inner")
        assert store.compute(functools.partial(work, 4))[1] == 4
        assert store.compute(store.get, "method") == "a:method"

        async def asynchronous(x: int) -> int:
            return await asyncio.sleep(0, x)

        assert store.compute(asynchronous, 5) == 5
        assert store.compute(lambda: asynchronous(6)) == 6
        assert store.compute(functools.cache(work), 7)[:2] == (threading.get_ident(), 7)
        with pytest.raises(ZeroDivisionError):
            store.compute(lambda: 1 / 0)

    anywhere(scenario)


def test_callbacks_are_given_faces_and_may_return_them(anywhere: Anywhere) -> None:
    """A handler registered through the face sees faces; registering returns the function itself."""

    def scenario() -> None:
        store = FaceStore("a")

        @store.on_event
        def handler(item: Any) -> Any:
            assert isinstance(item, face(Item))
            return item.read(), item

        assert handler.__name__ == "handler"
        assert inspect.isfunction(handler)
        [(number, item)] = store.fire(FaceStore("b")[9])
        assert (number, item.read()) == (9, 9)
        assert handler in twin_of(store).handlers
        assert store.handlers == [handler]

    anywhere(scenario)


def test_a_handler_registered_in_a_script_runs_off_the_loop_of_native_code() -> None:
    """An unbridged task of the twin calls it: it runs in a thread, where it may wait, instead of blocking the loop."""
    store = FaceStore("a")
    store.on_event(lambda: (threading.get_ident(), store.get("k")))

    async def native() -> tuple[int, list[Any]]:
        return threading.get_ident(), await twin_of(store).fire()

    loop_thread, [(ident, got)] = asyncio.run(native())
    assert got == "a:k"
    assert ident != loop_thread


def test_decorators_make_sync_functions_of_sync_functions(anywhere: Anywhere) -> None:
    """The same arguments, name, docstring and signature; the user's own arguments are not touched."""

    def scenario() -> None:
        store = FaceStore("a")
        item = Item(1)

        @store.cached("prefix")
        def view(a: Any, b: int = 2) -> Any:
            """A view."""
            return a, wait(asyncio.sleep(0, b))

        assert inspect.isfunction(view)
        assert not inspect.iscoroutinefunction(view)
        assert (view.__name__, view.__doc__) == ("view", "A view.")
        assert str(inspect.signature(view)) == "(a: 'Any', b: 'int' = 2) -> 'Any'"
        assert view(1, b=3) == ("prefix", (1, 3), 1)
        view.timeout_s = 60
        assert view(len)[1:] == ((len, 2), 60)
        assert view(test_operators)[1][0] is test_operators
        assert view(item)[1][0].read() == 1
        assert store.forget(view)
        assert not store.forget(scenario)

        class Views:
            @store.cached("method")
            def view(self, x: int) -> tuple[Any, int]:
                return self, x

        views = Views()
        assert views.view(1) == ("method", (views, 1), 1)
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            view()

    anywhere(scenario)


def test_decorators_leave_async_functions_async(anywhere: Anywhere) -> None:
    """What a twin makes of an async view is an async view."""

    def scenario() -> None:
        @FaceStore("a").cached("prefix")
        async def view(x: int) -> int:
            return await asyncio.sleep(0, x)

        assert inspect.iscoroutinefunction(view)
        assert wait(view(1)) == ("prefix", 1, 1)

    anywhere(scenario)


def test_a_face_looks_like_its_twin() -> None:
    """Names, docstrings, signatures, class attributes, bases; methods are plain functions."""
    store = FaceStore("a")
    assert (FaceStore.__name__, FaceStore.__doc__, FaceStore.__module__) == ("Store", "A store of items.", __name__)
    assert str(inspect.signature(FaceStore)) == "(name: 'str', *, size: 'int' = 3) -> 'None'"
    assert str(inspect.signature(store.get)) == "(key: 'str', default: 'str | None' = None) -> 'str'"
    assert inspect.signature(FaceStore.get) == inspect.signature(Store.get)
    assert not inspect.iscoroutinefunction(store.get)
    assert not inspect.iscoroutinefunction(store.static)
    assert (store.get.__doc__, store.ping.__doc__) == ("Gets a value.", "Says pong.")
    assert (FaceStore.state.__doc__, FaceStore.title.__doc__) == ("Open or closed.", "In capitals.")
    assert (FaceStore.KIND, store.KIND, store.Missing, FaceStore.Missing) == ("store", "store", KeyError, KeyError)
    assert issubclass(FaceStore, face(Base))
    assert face(Store) is FaceStore
    assert {"get", "name", "state"} <= set(dir(store))
    assert repr(store) == f"<face of {twin_of(store)!r}>"
    with pytest.raises(AttributeError, match="nothing"):
        _ = store.nothing
    with pytest.raises(TypeError, match="name"):
        FaceStore()


def test_faces_of_the_same_twin_are_equal() -> None:
    """They compare and hash as their twins do, and a copy works."""
    store = Store("a")
    assert faced(store) == faced(store)
    assert hash(faced(store)) == hash(store)
    assert faced(store) != store
    assert faced(store) != faced(Store("a"))
    assert twin_of(copy.copy(faced(store))) is store
    assert twin_of(store) is store


def test_a_face_handed_to_its_twin_arrives_as_the_twin(anywhere: Anywhere) -> None:
    """As an argument, and inside a container."""

    def scenario() -> None:
        store = FaceStore("a")
        assert store.same(store)
        assert store.compute(wait, wait_for_same(store)) is True

    async def wait_for_same(store: Any) -> bool:
        return await store._twin.same(twin_of(store))

    anywhere(scenario)


def test_subclasses_on_both_sides(anywhere: Anywhere) -> None:
    """A subclass of the twin has a face of its own; a subclass of a face adds plain methods and can call super()."""

    class Special(Store):
        @io_method
        async def get(self, key: str, default: str | None = None) -> str:
            return "special " + await super().get(key)

    class Mine(FaceStore):  # type: ignore[misc,valid-type]
        def __init__(self, name: str) -> None:
            super().__init__(name, size=1)

        def get(self, key: str, default: str | None = None) -> str:
            return "mine " + str(super().get(key))

        def twice(self) -> list[str]:
            return [self.get("x"), self.get("y")]

    def scenario() -> None:
        assert issubclass(face(Special), FaceStore)
        assert face(Special)("a").get("k") == "special a:k"
        assert Mine("m").twice() == ["mine m:x", "mine m:y"]
        assert len(Mine("m")) == 1

    anywhere(scenario)


def test_dataclasses_generics_and_iterators_have_faces(anywhere: Anywhere) -> None:
    """Twins that are dataclasses, generic, subclasses of str, or their own iterators."""

    @dataclass
    class Countdown(Generic[T]):
        start: int

        def __aiter__(self) -> Countdown[T]:
            return self

        @io_method
        async def __anext__(self) -> int:
            await asyncio.sleep(0)
            if not self.start:
                raise StopAsyncIteration
            self.start -= 1
            return self.start

    class Key(str):
        @io_method
        async def read(self) -> str:
            await asyncio.sleep(0)
            return self.upper()

    def scenario() -> None:
        countdown = face(Countdown)(start=3)
        assert next(countdown) == 2
        assert list(countdown) == [1, 0]
        assert countdown == face(Countdown)(0)
        key = face(Key)("k")
        assert key.read() == "K"
        assert type(key.lower()) is str
        assert len(key) == 1

    anywhere(scenario)


def test_classes_of_others_are_wrapped_only_where_they_must_be(anywhere: Anywhere) -> None:
    """An asyncio.Lock that a method returns works with `with`; one that is an attribute is left alone."""

    class Holder:
        def __init__(self) -> None:
            self.attribute = asyncio.Lock()

        @io_method
        async def lock(self) -> asyncio.Lock:
            return self.attribute

    def scenario() -> None:
        holder = face(Holder)()
        with holder.lock() as nothing:
            assert nothing is None
            assert holder.attribute.locked()
        assert type(holder.attribute) is asyncio.Lock
        assert not holder.attribute.locked()

    anywhere(scenario)


MISUSES: list[Callable[[Any], Any]] = [
    lambda value: value == "a is open",
    lambda value: value != "a is open",
    bool,
    lambda value: not value,
    len,
    list,
    lambda value: "x" in value,
    lambda value: value[0],
    lambda value: value < 1,
    lambda value: value + 1,
    lambda value: 1 + value,
    hash,
    int,
    lambda value: f"{value}",
]


@pytest.mark.parametrize("misuse", MISUSES)
async def test_an_io_property_that_is_not_awaited_refuses_to_be_a_value(misuse: Callable[[Any], Any]) -> None:
    """A forgotten await is an error that says so, never a condition that is always true."""
    with pytest.raises(TypeError, match=r"Store\.state is not a value yet: await it"):
        misuse(Store("a").state)


async def test_an_io_property_is_awaited() -> None:
    """As often as one likes; its attributes are asked for after the await; without a setter it cannot be set."""
    store = Store("a")
    state = store.state
    assert (await state, await state) == ("a is open", "a is open")
    assert repr(state) == "<Store.state, not awaited>"
    with pytest.raises(AttributeError, match=r"has no 'read': await it, `\(await …\).read`"):
        store.first.read()  # type: ignore[attr-defined]
    assert await (await store.first).read() == 1
    with pytest.raises(AttributeError, match=r"Store\.first cannot be set"):
        store.first = Item(2)  # type: ignore[assignment]


async def test_a_face_on_the_loop_outside_a_bridge_says_what_to_do() -> None:
    """It never blocks the loop."""

    async def child() -> Any:
        return FaceStore("a").get("k")

    with pytest.raises(RuntimeError, match="outside the bridge"):
        await asyncio.create_task(child())


def test_a_flask_view_behind_a_face(anywhere: Anywhere) -> None:
    """In Flask itself: the application goes in as it is, the view and the key function see their request."""

    class Limiter:
        def __init__(self, app: flask.Flask | None = None, *, key_func: Callable[[], str]) -> None:
            self.app_type, self.key_func, self.hits = type(app), key_func, dict[str, int]()

        @io_method
        async def hit(self, key: str) -> int:
            await asyncio.sleep(0)
            self.hits[key] = self.hits.get(key, 0) + 1
            return self.hits[key]

        def limit(self, most: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
            def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
                @functools.wraps(view)
                async def limited(*args: Any, **kwargs: Any) -> Any:
                    if await self.hit(await called(self.key_func)) > most:
                        return "too many", 429
                    return await called(view, *args, **kwargs)

                return limited

            return decorate

    app = flask.Flask(__name__)
    limiter = face(Limiter)(app, key_func=lambda: flask.request.args["user"])

    @app.get("/<int:number>")
    @limiter.limit(2)
    def view(number: int) -> dict[str, Any]:
        return {"number": number, "path": flask.request.path, "waited": wait(asyncio.sleep(0, True))}

    def scenario() -> None:
        client = app.test_client()
        answers = [client.get("/7?user=a") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[0].get_json() == {"number": 7, "path": "/7", "waited": True}
        assert client.get("/7?user=b").status_code == 200
        assert limiter.app_type is flask.Flask
        assert limiter.hits == {"a": 3, "b": 1}

    anywhere(scenario)


def test_a_twin_has_one_face_while_somebody_holds_it() -> None:
    """Handed on by its own __init__, as an extension that registers itself; then returned, or made once more."""
    registered: list[Any] = []

    class Extension:
        def __init__(self) -> None:
            registered.append(faced(self))

        @io_method
        async def itself(self) -> Any:
            return self

    made = face(Extension)()
    assert registered == [made]
    assert registered.pop() is made
    assert made.itself() is made
    twin = twin_of(made)
    known = id(made)
    del made
    gc.collect()
    assert faced(twin) is not None
    assert twin_of(faced(twin)) is twin, f"another one, now that {known} is gone"


def test_what_serves_both_worlds_is_shown_as_it_is() -> None:
    """A query, say, that has __aiter__ for the one and __iter__ for the other."""

    class Both:
        __decant_both__ = True

        def __iter__(self) -> Any:
            return iter([1])

        async def __aiter__(self) -> AsyncIterator[int]:
            yield 1

    class Twin:
        @io_method
        async def both(self) -> Both:
            return Both()

    got = face(Twin)().both()
    assert type(got) is Both
    assert [*got] == [1]


def test_what_a_subclass_of_a_face_overrides_the_twin_calls(anywhere: Anywhere) -> None:
    """As with the extension that the twin stands for: tracing, say, wraps its public methods."""

    class Store:
        def __init__(self, start: int) -> None:
            self.value = start

        @io_method
        async def get(self) -> int:
            return self.value

        def double(self, number: int) -> int:
            return number * 2

        @io_method
        async def doubled(self) -> int:
            return self.double(await self.get())

    class Traced(face(Store)):  # type: ignore[misc]
        def __init__(self, start: int) -> None:
            self.calls: list[str] = []
            super().__init__(start + 1)

        def get(self) -> int:
            self.calls.append("get")
            return super().get()

    class More(Traced):
        def double(self, number: int) -> int:
            self.calls.append("double")
            return super().double(number) + 100

        def get(self) -> int:
            return super().get() + 1000

    def scenario() -> None:
        store = Traced(1)
        assert (store.doubled(), store.get(), store.calls) == (4, 2, ["get", "get"])
        store.calls = []
        assert (store.doubled(), store.calls) == (4, ["get"])
        more = More(1)
        assert (more.doubled(), more.calls) == (2104, ["get", "double"])
        assert isinstance(twin_of(more), Store)
        assert face(Store)(1).doubled() == 2

    anywhere(scenario)
