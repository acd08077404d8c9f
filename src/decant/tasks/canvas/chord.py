"""``chord``: a group, and what is called with all of its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from ...faces import io_method, twin_of
from ..results import ResultBase
from .group import group
from .signature import Signature, maybe_signature

if TYPE_CHECKING:
    from ..extension import Tasks

__all__ = ["chord"]


class chord(Signature):
    """``await chord([add.s(1, 1), add.s(2, 2)])(total.s())`` calls ``total([2, 4])``.

    The results are in the order of the header; those of groups within it in their place, each for itself. If a task
    of the header fails, the body fails with :exc:`~decant.tasks.errors.ChordError`, and its errbacks are called.
    Chords are counted in the ledger: their header's jobs are always durable.
    """

    KIND = "chord"

    def __init__(self, header: Any, body: Any = None, app: Tasks | None = None, **options: Any) -> None:
        head = maybe_signature(header, app) if isinstance(header, dict) else None
        made = head.clone() if isinstance(head, group) else group([head] if head is not None else header, app=app)
        after = None if body is None else maybe_signature(twin_of(body), app).clone()
        super().__init__("decant.chord", (), {"header": made, "body": after}, options, app=app)

    @property
    def header(self) -> group:
        """What runs first."""
        return self.kwargs["header"]  # type: ignore[no-any-return]

    @property
    def tasks(self) -> list[Signature]:
        """The signatures of the header."""
        return self.header.tasks

    @property
    def body(self) -> Signature | None:
        """What is called with the results."""
        return self.kwargs["body"]  # type: ignore[no-any-return]

    def parts(self) -> list[Signature]:
        return [self.header, *([self.body] if self.body is not None else [])]

    def _adopt(self, app: Tasks | None) -> None:
        header = self.kwargs["header"]
        self.kwargs["header"] = group(header, app=app) if isinstance(header, list) else maybe_signature(header, app)
        self.kwargs["body"] = maybe_signature(self.kwargs["body"], app)

    def __copy__(self) -> Any:
        made = super().__copy__()
        made.kwargs["header"] = self.header.clone()
        made.kwargs["body"] = None if self.body is None else self.body.clone()
        return made

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        made = copy(self)
        given, named = tuple(args), dict(kwargs or {})
        body = named.pop("body", None)
        made.kwargs["header"] = made.header.clone(given, named)
        if body is not None:
            made.kwargs["body"] = maybe_signature(body, self._app).clone()
        made["options"] = {**made.options, **options}
        return made

    def _body(self) -> Signature:
        if self.body is None:
            raise TypeError("a chord needs a body: chord(header)(body) or chord(header, body)")
        return self.body

    def link(self, callback: Any) -> Any:
        """Call ``callback`` with the result of the body."""
        return self._body().link(callback)

    def link_error(self, errback: Any) -> Any:
        """Call ``errback`` if the body fails, also because of the header."""
        return self._body().link_error(errback)

    def set_immutable(self, immutable: bool) -> None:
        super().set_immutable(immutable)
        self.header.set_immutable(immutable)

    def freeze(self, _id: str | None = None, group_id: Any = None, chord: Any = None, **_: Any) -> ResultBase:
        """Settle the ids; returns the body's result, which begins with the header's."""
        from .chain import first_of

        header = self.header.freeze()
        result = self._body().freeze(_id)
        first_of(result).parent = header
        return result

    @io_method
    async def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now."""
        header = await self.header.apply(args, kwargs)
        result = await self._body().apply((await header.get(propagate=True),), **options)
        result.parent = header
        return result

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """:meth:`apply_async`, with this body."""
        return self.apply_async((), {} if body is None else {"body": twin_of(body)}, **options)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        return f"chord({self.header!r}, {self.body!r})"
