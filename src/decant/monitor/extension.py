"""``Monitor``: the blueprint."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from quart import Blueprint, Response, current_app, request
from werkzeug.exceptions import HTTPException

from ..bridge import in_thread
from ..errors import ConfigError, Overloaded, Unavailable
from ..faces import twin_of
from ..tasks.beat.ticker import Ticker
from . import access, acting, api, api_tasks, pages, pages_of_jobs, rendering
from .access import Guard
from .live import Hub
from .problems import Problem
from .recent import Recent
from .searching import SearchError
from .store import Store

__all__ = ["Monitor"]

_METRICS: Final = ("guarded", "open", "off")
_BUILTIN: Final = ("celery.", "decant.")
_OPEN: Final = frozenset({"static", "healthcheck"})
_NO_GUARD: Final = (
    "a function that says who may see the jobs, as in Monitor(tasks, guard=is_admin). Without one, everybody could see"
    " them and stop the workers, so that is refused outside debug mode"
)
View = Callable[..., Awaitable[Any]]


class Monitor(Blueprint):
    """Pages, a JSON API and metrics of :class:`decant.tasks.Tasks`, for the application to put where it likes::

        app.register_blueprint(Monitor(tasks, guard=is_admin), url_prefix="/jobs")

    :param tasks: whose jobs, workers and schedules are shown: a :class:`~decant.tasks.Tasks`, or its face; or the
        Celery application of code that runs under :func:`decant.flask.install`.
    :param guard: called in the context of each request, async or not. ``True`` lets it pass; ``False`` is answered with
        403; a response, as ``redirect(url_for("login"))``, is sent. Only ``/healthcheck``, the style sheet and the
        script are served without asking.
    :param may_act: asked beside ``guard`` before anything is changed; by default, who may see may act.
    :param read_only: nothing can be changed: there are no buttons, and the API answers 403.
    :param metrics: ``/metrics`` is ``"guarded"`` as all else, ``"open"`` or ``"off"``.
    :param home: a link back to the application on every page: a path below its root path, as ``"/"``, or a whole URL.
    :param name: the blueprint's, for ``url_for("monitor.overview")``.
    :param options: of ``quart.Blueprint``.
    :raises ConfigError: for another value of ``metrics``; and when it is registered without a guard, unless the
        application is in debug mode.
    """

    def __init__(
        self,
        tasks: Any,
        *,
        guard: Guard | None = None,
        may_act: Guard | None = None,
        read_only: bool = False,
        metrics: str = "guarded",
        home: str | None = None,
        name: str = "monitor",
        **options: Any,
    ) -> None:
        if metrics not in _METRICS:
            raise ConfigError("metrics", metrics, f"one of {', '.join(map(repr, _METRICS))} is allowed")
        super().__init__(name, __name__, static_folder="static", static_url_path="/static", **options)
        self.tasks, self.guard, self.may_act = twin_of(tasks), guard, may_act
        self.read_only, self.metrics, self.home = read_only, metrics, home
        self._shown = False
        self.environment = rendering.environment()
        self._recent: WeakKeyDictionary[asyncio.AbstractEventLoop, Recent] = WeakKeyDictionary()
        self._hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()
        self.before_request(self._admit)
        self.after_request(access.harden)
        self.register_error_handler(Problem, self._answer_problem)
        self.register_error_handler(SearchError, self._answer_problem)
        self.register_error_handler(Unavailable, self._answer_unavailable)
        self.register_error_handler(Overloaded, self._answer_unavailable)
        for module in (pages, pages_of_jobs, acting, api, api_tasks):
            for rule, endpoint, view, methods in module.ROUTES:
                self.add_url_rule(rule, endpoint, partial(view, self), methods=methods)

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Called by ``app.register_blueprint``."""
        if self.guard is None and not app.debug:
            raise ConfigError("guard", None, _NO_GUARD)
        super().register(app, options)
        app.after_serving(self._close)

    # -- for the views -----------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The current application's."""
        self._shown = True
        return Store(self.tasks.runtime(current_app._get_current_object()))  # type: ignore[attr-defined]

    @property
    def hub(self) -> Hub:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        hub = self._hubs.get(loop)
        if hub is None:
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            hub = self._hubs[loop] = Hub(self.store, partial(_stops, app))
        return hub

    @property
    def recent(self) -> Recent:
        """The running loop's."""
        return self._recent.setdefault(asyncio.get_running_loop(), Recent())

    @property
    def ticker(self) -> Ticker:
        """Reads and changes the schedule."""
        return Ticker(self.tasks, self.store.runtime.app)

    def task_names(self) -> list[str]:
        """The application's tasks, without those that every :class:`~decant.tasks.Tasks` has."""
        return sorted(name for name in self.tasks.tasks if not name.startswith(_BUILTIN))

    async def may_act_now(self) -> bool:
        """Whether this request's user may change something."""
        if self.read_only or not current_app.secret_key:
            return False
        if self.may_act is None:
            return True
        try:
            return await current_app.ensure_async(self.may_act)() is True
        except HTTPException:
            return False

    async def page(self, template: str, status: int = 200, /, **context: Any) -> Response:
        """A page, with what all of them have."""
        acts = await self.may_act_now()
        text = self.environment.get_template(template).render(
            **{"problems": [], "refresh": "", **context},
            endpoint=(request.endpoint or "").rpartition(".")[2],
            url_for=_url_for,
            home=self._home(),
            acts=acts,
            token=access.form_token() if acts else None,
            token_field=access.FIELD,
            done=acting.DONE.get(request.args.get("done", "")),
        )
        return Response(text, status, content_type="text/html; charset=utf-8")

    def _home(self) -> str | None:
        if self.home is not None and self.home.startswith("/"):
            return request.root_path.rstrip("/") + self.home
        return self.home

    # -- before and after the views ----------------------------------------------------------------------------

    async def _admit(self) -> Any:
        endpoint = (request.endpoint or "").rpartition(".")[2]
        if endpoint in _OPEN:
            return None
        await self._settle()
        if endpoint == "metrics" and self.metrics == "open":
            return None
        if self.guard is not None and (answer := await access.ask(self.guard)) is not None:
            return answer
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        if self.read_only:
            raise Problem(403, "Read only mode is enabled")
        if self.may_act is not None and (answer := await access.ask(self.may_act)) is not None:
            return answer
        if _is_api():
            access.refuse_foreign()
        else:
            await access.check_form()
        return None

    async def _settle(self) -> None:
        """Of a Celery application: settle where its jobs are, if nobody has asked for one yet."""
        settle = getattr(type(self.tasks), "settle", None)
        if settle is not None:
            await in_thread(settle, self.tasks)

    async def _answer_problem(self, problem: Problem | SearchError) -> Response:
        status = problem.status if isinstance(problem, Problem) else 400
        return await self._answer(status, str(problem))

    async def _answer_unavailable(self, error: Unavailable | Overloaded) -> Response:
        answer = await self._answer(503, str(error), again=True)
        answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer

    async def _answer(self, status: int, message: str, *, again: bool = False) -> Response:
        if _is_api():
            return Response(message, status, content_type="text/plain; charset=utf-8")
        return await self.page("problem.html", status, status=status, message=message, again=again)

    async def _close(self) -> None:
        hub = self._hubs.pop(asyncio.get_running_loop(), None)
        if hub is not None:
            await hub.aclose()
        if self._shown:
            runtime, app = self.store.runtime, current_app._get_current_object()  # type: ignore[attr-defined]
            if runtime.app is not app:  # a Flask application's, which closes nothing when the server ends
                await runtime.aclose()
                await runtime.redis.aclose()


def _is_api() -> bool:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    return endpoint.startswith("api_") or endpoint in ("metrics", "healthcheck", "live")


def _url_for(endpoint: str, **values: Any) -> str:
    return current_app.url_for(f".{endpoint}", **values)


def _stops(app: Any) -> bool:
    """Whether the server stops. With decant.Quart it is known at once, else when nothing is open any more."""
    connections = getattr(app, "connections", None)
    return bool(app.shutdown_event.is_set() or getattr(connections, "stopping", False))
