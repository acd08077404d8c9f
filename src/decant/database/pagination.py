"""Pages of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

from sqlalchemy import func, select
from sqlalchemy.orm import lazyload

from ..context import current_request, has_request
from ..faces import io_method
from .flavor import abort, in_flask, value_or_awaitable

__all__ = [
    "Pagination",
    "PlainPagination",
    "PlainQueryPagination",
    "PlainSelectPagination",
    "QueryPagination",
    "SelectPagination",
    "paginated",
]

_FIRST_PAGE = 1
_PER_PAGE = 20


class _Page:
    """What pages have in common, awaited or not."""

    items: list[Any]
    total: int | None

    def __init__(
        self,
        page: int | None = None,
        per_page: int | None = None,
        max_per_page: int | None = 100,
        error_out: bool = True,
        count: bool = True,
        **kwargs: Any,
    ) -> None:
        self._query_args = kwargs
        self.page, self.per_page = _page_arguments(page, per_page, max_per_page, error_out)
        self.max_per_page = max_per_page
        self._error_out, self._count = error_out, count
        self.items, self.total = [], None

    def run(self) -> Self:
        """Run the queries, synchronously: in a bridge.

        :raises werkzeug.exceptions.NotFound: if a page other than the first is empty, with ``error_out``.
        """
        self.items = self._query_items()
        if not self.items and self.page != _FIRST_PAGE and self._error_out:
            abort(404)
        if self._count:
            self.total = self._query_count()
        return self

    @property
    def _query_offset(self) -> int:
        return (self.page - 1) * self.per_page

    def _query_items(self) -> list[Any]:
        raise NotImplementedError

    def _query_count(self) -> int:
        raise NotImplementedError

    @property
    def first(self) -> int:
        """The number of the page's first item among all, from 1; 0 if the page is empty."""
        return self._query_offset + 1 if self.items else 0

    @property
    def last(self) -> int:
        """The number of the page's last item among all; 0 if the page is empty."""
        return self._query_offset + len(self.items) if self.items else 0

    @property
    def pages(self) -> int:
        """How many pages there are; 0 if there are no items, or they were not counted."""
        return -(-self.total // self.per_page) if self.total else 0

    @property
    def has_prev(self) -> bool:
        """Whether this is not the first page."""
        return self.page > _FIRST_PAGE

    @property
    def prev_num(self) -> int | None:
        """The number of the page before, or ``None``."""
        return self.page - 1 if self.has_prev else None

    @property
    def has_next(self) -> bool:
        """Whether this is not the last page."""
        return self.page < self.pages

    @property
    def next_num(self) -> int | None:
        """The number of the page after, or ``None``."""
        return self.page + 1 if self.has_next else None

    def _beside(self, page: int, error_out: bool) -> Self:
        other = type(self)(
            page=page,
            per_page=self.per_page,
            max_per_page=self.max_per_page,
            error_out=error_out,
            count=False,
            **self._query_args,
        )
        other.total = self.total
        return other

    def iter_pages(
        self, *, left_edge: int = 2, left_current: int = 2, right_current: int = 4, right_edge: int = 2
    ) -> Iterator[int | None]:
        """The page numbers that a pager shows, with ``None`` for each gap.

        >>> page = Pagination(page=7, per_page=1)
        >>> page.total = 20
        >>> list(page.iter_pages())
        [1, 2, None, 5, 6, 7, 8, 9, 10, 11, None, 19, 20]
        """
        shown = 0
        for number in range(1, self.pages + 1):
            near = self.page - left_current <= number <= self.page + right_current
            if not (number <= left_edge or near or number > self.pages - right_edge):
                continue
            if number - shown > 1:
                yield None
            shown = number
            yield number

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class Pagination(_Page):
    """The items of one page, and which pages there are. Made by ``await db.paginate(…)``; iterating gives the items.

    As Flask-SQLAlchemy's, except that the queries run when it is awaited, not when it is made, that ``prev`` and
    ``next`` are awaited, and that ``max_per_page`` is 100 as documented there, where 3.1 has no limit.

    A subclass says how to query: ``_query_items()`` and ``_query_count()``, which are synchronous.

    :ivar items: the items of the page.
    :ivar total: how many items all pages have; ``None`` with ``count=False``.
    """

    @io_method
    def prev(self, *, error_out: bool = False) -> Any:
        """Query the page before: ``await page.prev()``."""
        return value_or_awaitable(self._beside(self.page - 1, error_out).run)

    @io_method
    def next(self, *, error_out: bool = False) -> Any:
        """Query the page after: ``await page.next()``."""
        return value_or_awaitable(self._beside(self.page + 1, error_out).run)


class PlainPagination(_Page):
    """:class:`Pagination` in a Flask application, as Flask-SQLAlchemy's: the queries run when it is made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run()

    def prev(self, *, error_out: bool = False) -> Self:
        """Query the page before."""
        return self._beside(self.page - 1, error_out)

    def next(self, *, error_out: bool = False) -> Self:
        """Query the page after."""
        return self._beside(self.page + 1, error_out)


class _OfSelect(_Page):
    def _query_items(self) -> list[Any]:
        statement = self._query_args["select"].limit(self.per_page).offset(self._query_offset)
        return list(self._query_args["session"].execute(statement).unique().scalars())

    def _query_count(self) -> int:
        inner = self._query_args["select"].options(lazyload("*")).order_by(None).subquery()
        return self._query_args["session"].execute(select(func.count()).select_from(inner)).scalar() or 0


class _OfQuery(_Page):
    def _query_items(self) -> list[Any]:
        found: list[Any] = self._query_args["query"].limit(self.per_page).offset(self._query_offset).plain().all()
        return found

    def _query_count(self) -> int:
        counted: int = self._query_args["query"].order_by(None).plain().count()
        return counted


class SelectPagination(_OfSelect, Pagination):
    """Of ``db.paginate``: takes a ``select`` statement and a synchronous ``session``."""


class QueryPagination(_OfQuery, Pagination):
    """Of ``Query.paginate``: takes a ``query``."""


class PlainSelectPagination(_OfSelect, PlainPagination):
    """:class:`SelectPagination` in a Flask application."""


class PlainQueryPagination(_OfQuery, PlainPagination):
    """:class:`QueryPagination` in a Flask application."""


def paginated(of_select: bool, arguments: dict[str, Any]) -> Callable[[], _Page]:
    """What runs the queries of one page; which page that is, is found out now, from the request.

    :param of_select: whether it is of a ``select`` statement, or of a query.
    """
    if in_flask():
        return partial(PlainSelectPagination if of_select else PlainQueryPagination, **arguments)
    return (SelectPagination if of_select else QueryPagination)(**arguments).run


def _page_arguments(
    page: int | None, per_page: int | None, max_per_page: int | None, error_out: bool
) -> tuple[int, int]:
    """What was given, else what the request's query string says, else the defaults; 404 or the default if wrong."""
    page = _argument("page", page, _FIRST_PAGE, error_out)
    per_page = _argument("per_page", per_page, _PER_PAGE, error_out)
    return page, per_page if max_per_page is None else min(per_page, max_per_page)


def _argument(name: str, value: int | None, default: int, error_out: bool) -> int:
    if value is None:
        try:
            value = int(current_request().args.get(name, default)) if has_request() else default
        except ValueError:
            value = 0
    if value >= 1:
        return value
    return abort(404) if error_out else default
