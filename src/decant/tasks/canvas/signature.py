"""``Signature``: a call to be made later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ...faces import Face, faced, io_method, twin_of
from ..asking import of_the_caller
from ..ids import uuid
from ..results import AsyncResult, ResultBase

if TYPE_CHECKING:
    from ..extension import Tasks

__all__ = ["Signature", "maybe_signature", "options_of", "plain_list", "signature"]

_LISTS: Final = ("link", "link_error")


class Faced(type):
    """Makes faces of what is made of faces: ``chain(add.s(1, 2), add.s(3))`` in Flask code is one too."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        given = [list(one) if isinstance(one, GeneratorType | map | filter | zip) else one for one in args]
        sync = any(isinstance(one, Face) for one in (*given, *kwargs.values(), *_inside(given), *_inside(kwargs)))
        twins = [_twins(one) for one in given]
        made = super().__call__(*twins, **{name: _twins(one) for name, one in kwargs.items()})
        made = made.simplified() if isinstance(made, Signature) else made
        return faced(made) if sync else made


def _inside(given: Any) -> list[Any]:
    values = given.values() if isinstance(given, dict) else given
    return [item for one in values if type(one) in (list, tuple) for item in one]


def _twins(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(twin_of(item) for item in value)
    return twin_of(value)


class Signature(dict[str, Any], metaclass=Faced):
    """Celery's ``Signature``: a dictionary with ``task args kwargs options subtask_type immutable``.

    Made by ``task.s(…)`` and its like, or of a task (its name, or a dictionary) with arguments and the options of
    ``apply_async``.
    """

    KIND: ClassVar[str | None] = None
    _kinds: ClassVar[dict[str, type[Signature]]] = {}
    _app: Tasks | None

    def __init__(
        self,
        task: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Tasks | None = None,
        **more: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            self["options"] = options_of(self.get("options") or {})
            return
        if app is None and task is not None and not isinstance(task, str):
            self._app = getattr(task, "app", None)
        super().__init__(
            task=getattr(task, "name", task),
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options=options_of({**(options or {}), **more}),
            subtask_type=subtask_type or self.KIND,
            immutable=immutable,
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.KIND is not None:
            Signature._kinds[cls.KIND] = cls

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Tasks | None = None) -> Signature:
        """The signature that a dictionary describes, of its kind."""
        kind = Signature._kinds.get(d.get("subtask_type") or "", Signature)
        made = kind.__new__(kind)
        dict.__init__(made, d)
        made._app = app
        made["options"] = options_of(made.get("options") or {})
        made["args"], made["kwargs"] = tuple(made.get("args") or ()), dict(made.get("kwargs") or {})
        made.setdefault("immutable", False)
        made._adopt(app)
        return made

    def _adopt(self, app: Tasks | None) -> None:
        """Make signatures of the dictionaries within."""

    def simplified(self) -> Signature:
        """What it amounts to: a chain of one is that one."""
        return self

    # -- its parts ---------------------------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        """The task's name."""
        return self["task"]  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments."""
        return self["args"]  # type: ignore[no-any-return]

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments by keyword."""
        return self["kwargs"]  # type: ignore[no-any-return]

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``apply_async``."""
        return self["options"]  # type: ignore[no-any-return]

    @property
    def subtask_type(self) -> str | None:
        """``"chain"``, ``"group"``, ``"chord"``, or ``None``."""
        return self["subtask_type"]  # type: ignore[no-any-return]

    @property
    def immutable(self) -> bool:
        """Whether nothing is added to its arguments."""
        return bool(self["immutable"])

    @property
    def id(self) -> str | None:
        """The id of its job, once it is frozen."""
        return self.options.get("task_id")

    @property
    def app(self) -> Tasks:
        """The ``Tasks`` that it is of."""
        if self._app is None:
            from ..shared import current_tasks

            found = next((one._app for one in self.parts() if one._app is not None), None)
            self._app = found or current_tasks()
        return self._app

    def parts(self) -> list[Signature]:
        """The signatures within."""
        return []

    @property
    def type(self) -> Any:
        """The task.

        :raises NotRegistered: if it is not known here.
        """
        return self.app.tasks[self.task]

    # -- making others of it -----------------------------------------------------------------------------------------

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """A copy, with ``args`` before its own, and more arguments by keyword, unless it is immutable; and options."""
        made = copy(self)
        made["options"] = options_of({**self.options, **options})
        if not self.immutable:
            made["args"] = (*args, *self.args)
            made["kwargs"] = {**self.kwargs, **(kwargs or {})}
        else:
            made["kwargs"] = dict(self.kwargs)
        return made

    partial = clone

    def __copy__(self) -> Any:
        made = type(self).__new__(type(self))
        dict.__init__(made, self)
        made["options"] = options_of(self.options)
        made["kwargs"] = dict(self.kwargs)
        made._app = self._app
        return made

    def __deepcopy__(self, memo: Any) -> Any:
        return copy(self)

    def __reduce__(self) -> Any:
        return Signature.from_dict, (dict(self),)

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Any:
        """A copy with other arguments or options in place of its own."""
        made = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                made[name] = tuple(value) if name == "args" else dict(value)
        return made

    def set(self, immutable: bool | None = None, **options: Any) -> Any:
        """Set options: ``add.s(1).set(queue="slow", countdown=10)``; returns itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options_of(options))
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Say whether nothing is added to its arguments."""
        self["immutable"] = immutable

    def _listed(self, name: str, value: Any) -> None:
        found = self.options.setdefault(name, [])
        for one in _as_list(value):
            if one not in found:
                found.append(one)

    def link(self, callback: Any) -> Any:
        """Call ``callback`` with the result; returns it."""
        self._listed("link", callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call ``errback`` with the id of the job if it fails; returns it. It is handed an id, never objects."""
        self._listed("link_error", errback)
        return errback

    def on_error(self, errback: Any) -> Any:
        """:meth:`link_error`; returns itself, for chaining."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """Itself and all that are linked to it, however indirectly."""
        links = [maybe_signature(one, self._app) for one in self.options.get("link") or ()]
        return [self, *(found for one in links for found in one.flatten_links())]

    def __or__(self, other: Any) -> Any:
        from .chain import chain

        other = twin_of(other)
        if not isinstance(other, Signature):
            return NotImplemented
        return chain(self, other, app=self._app)

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    # -- results -----------------------------------------------------------------------------------------------------

    def freeze(self, _id: str | None = None, group_id: Any = None, chord: Any = None, **_: Any) -> ResultBase:
        """Settle the ids of its jobs now; returns the result."""
        if _id is not None:
            self.options["task_id"] = _id
        self.options.setdefault("task_id", uuid())
        return AsyncResult(self.options["task_id"], None, self.task, self.app)

    @io_method
    @of_the_caller
    async def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Ask for the jobs, with more arguments."""
        return await self.apply_async(args, kwargs)

    @io_method
    @of_the_caller
    async def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Ask for the jobs, with more arguments and options, all at once; returns the result of the last."""
        from .launching import launch

        made = self.clone(args, kwargs, **options)
        task = self.app.tasks.get(self.task)
        if self.app.conf.task_always_eager and self.KIND is not None:
            return await made.apply()
        if task is None or self.KIND is not None:
            return await launch(self.app, made)
        return await task.apply_async(made.args, made.kwargs, **made.options)

    @io_method
    async def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now; returns an :class:`~decant.tasks.results.EagerResult`."""
        made = self.clone(args, kwargs, **options)
        options = {name: value for name, value in made.options.items() if name not in ("countdown", "eta")}
        return await self.type.apply(made.args, made.kwargs, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now; there is no job."""
        made = self.clone(args, kwargs)
        return self.type(*made.args, **made.kwargs)

    async def __invert__(self) -> Any:
        return await (await self.apply_async()).get()

    # -- for people --------------------------------------------------------------------------------------------------

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """It as a call in Python: ``add(1, 2)``."""
        made = self.clone(args, kwargs)
        parts = [*map(repr, made.args), *(f"{name}={value!r}" for name, value in made.kwargs.items())]
        return f"{self.task}({', '.join(parts)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self, other) if isinstance(other, dict) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other


# -- conversions -----------------------------------------------------------------------------------------------------


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task, a name, or a dictionary that describes one."""
    varies = twin_of(varies)
    if isinstance(varies, dict):
        made = maybe_signature(varies, kwargs.get("app"))
        assert made is not None
        return made.clone()  # type: ignore[no-any-return]
    return Signature(varies, *args, **kwargs)


def maybe_signature(d: Any, app: Tasks | None = None, clone: bool = False) -> Any:
    """A signature for a dictionary that describes one; signatures and ``None`` as they are; tasks as theirs."""
    d = twin_of(d)
    if isinstance(d, Signature):
        return d.clone() if clone else d
    if isinstance(d, Mapping):
        return Signature.from_dict(d, app)
    if d is None or not hasattr(d, "apply_async"):
        if d is None:
            return None
        raise TypeError(f"a signature is needed, as task.s(…) makes, not {type(d).__name__}: {d!r}")
    return d.s()


def plain_list(given: Any) -> list[dict[str, Any]]:
    """Callbacks as plain dictionaries."""
    from .plain import plain

    return [plain(maybe_signature(one), shifted=True) for one in _as_list(given)]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    given = [twin_of(one) for one in value] if isinstance(value, list | tuple) else [twin_of(value)]
    return [one.s() if not isinstance(one, dict) and hasattr(one, "s") else one for one in given]


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(given)
    for name in _LISTS:
        if made.get(name) is not None:
            made[name] = _as_list(made[name])
    return made
