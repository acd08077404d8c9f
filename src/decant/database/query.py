"""``Model.query``: SQLAlchemy's ``Query`` whose terminal methods are awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any, TypeVar

from sqlalchemy import exc, orm

from .flavor import abort, value_or_awaitable

__all__ = ["Query"]

T = TypeVar("T")
Q = TypeVar("Q", bound="Query[Any]")


class Query(orm.Query[T]):
    """A query. What only builds it (``filter_by``, ``join``, ``exists``, …) is as in SQLAlchemy; what runs it is
    awaited: ``await User.query.filter_by(name="a").first()``, ``async for user in User.query``.

    In a Flask application the same methods return values. Plain iteration and slices work wherever
    :func:`decant.bridge.wait` does. Subclasses are given to ``SQLAlchemy(query_class=…)``, as in Flask-SQLAlchemy.
    """

    __decant_both__ = True  # no face: what it returns depends on the application
    _plain = False

    def _run(self, work: Callable[[Any], Any]) -> Any:
        """Run ``work`` on this query: its value in Flask's context, else an awaitable."""
        if self._plain:
            return work(self)
        return value_or_awaitable(lambda: work(self.plain()))

    def plain(self: Q) -> Q:
        """A copy whose methods run at once, and so need a bridge."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._plain = True
        return copied

    def get_or_404(self, ident: Any, description: str | None = None) -> Any:
        """As ``get``, but 404 instead of ``None``."""

        def work(query: Any) -> Any:
            found = query.get(ident)
            return abort(404, description) if found is None else found

        return self._run(work)

    def first_or_404(self, description: str | None = None) -> Any:
        """As ``first``, but 404 instead of ``None``."""

        def work(query: Any) -> Any:
            found = query.first()
            return abort(404, description) if found is None else found

        return self._run(work)

    def one_or_404(self, description: str | None = None) -> Any:
        """As ``one``, but 404 instead of ``NoResultFound`` and ``MultipleResultsFound``."""

        def work(query: Any) -> Any:
            try:
                return query.one()
            except (exc.NoResultFound, exc.MultipleResultsFound):
                abort(404, description)

        return self._run(work)

    def paginate(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        max_per_page: int | None = 100,
        error_out: bool = True,
        count: bool = True,
    ) -> Any:
        """One page of the results; see :meth:`decant.database.SQLAlchemy.paginate`."""
        from .pagination import paginated

        arguments = {
            "query": self,
            "page": page,
            "per_page": per_page,
            "max_per_page": max_per_page,
            "error_out": error_out,
            "count": count,
        }
        return value_or_awaitable(paginated(False, arguments))

    async def __aiter__(self) -> AsyncIterator[T]:
        for item in await value_or_awaitable(lambda: list(self.plain()._iter()), always_await=True):
            yield item


def _terminal(name: str) -> Callable[..., Any]:
    original = getattr(orm.Query, name)

    @wraps(original)
    def method(self: Query[Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._run(lambda query: original(query, *args, **kwargs))

    return method


for _name in ("all", "first", "one", "one_or_none", "scalar", "count", "get", "delete", "update", "value", "values"):
    setattr(Query, _name, _terminal(_name))
