"""The pytest plugin, in test runs of its own: each is a project with the plugin and the others that it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

STRICT = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
ASYNCIO = (*STRICT, "-o", "asyncio_mode=auto")
SESSION = ("asyncio_default_fixture_loop_scope=session", "asyncio_default_test_loop_scope=session")
CONFTEST = """
    import pytest
    from {package} import Quart

    @pytest.fixture
    def app():
        app = Quart("project", static_folder=None)

        @app.get("/")
        async def index():
            return "index"

        @app.cli.command("hello")
        def hello():
            print("hello from a command")

        return app
"""
PLAIN = CONFTEST.format(package="quart")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest with only the plugins that are named, decant's first; in a new process if ``apart``."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(*args: str, apart: bool = False) -> pytest.RunResult:
        options = ("-p", "decant.testing.plugin", "-p", "no:cacheprovider", "-W", "error", *args)
        return (pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess)(*options)

    return run


def test_async_tests_and_fixtures_are_bridged(pytester: pytest.Pytester, run: Run) -> None:
    """Functions, methods, generators, autouse, session scope, fixtures of classes: ``wait`` works in each."""
    pytester.makepyfile("""
        import asyncio
        import pytest
        from decant.bridge import wait

        async def value(v):
            await asyncio.sleep(0)
            return v

        def sync(v):
            return wait(value(v))

        log = []

        @pytest.fixture
        async def plain():
            return sync("plain")

        @pytest.fixture(scope="session")
        async def generator():
            yield sync("generator")
            log.append(sync("over"))

        @pytest.fixture(autouse=True)
        async def always():
            log.append(sync("auto"))

        @pytest.fixture
        def not_async():
            return "sync"

        async def test_function(plain, generator, not_async):
            assert (sync("test"), plain, generator, not_async) == ("test", "plain", "generator", "sync")
            with pytest.raises(RuntimeError, match="bridged"):
                await asyncio.gather(child())

        async def child():
            wait(value(1))

        class TestMethods:
            @pytest.fixture
            async def own(self):
                self.seen = sync("own")
                yield self
                sync("after")

            async def test_method(self, own, plain):
                assert sync(self.seen) == "own"
                assert own is self

            @staticmethod
            async def test_static():
                assert sync(1) == 1

        @pytest.mark.parametrize("n", [1, 2])
        async def test_parameters(n):
            assert sync(n) == n

        def test_sync(generator):
            assert generator == "generator"
            assert sync("no loop") == "no loop"
            assert log.count("auto") == 6
    """)
    run(*ASYNCIO, "-o", SESSION[0], "-o", SESSION[1]).assert_outcomes(passed=6)


def test_isolated_asyncio_test_cases_are_bridged(pytester: pytest.Pytester, run: Run) -> None:
    """``unittest``'s own: what ``setUp`` of a Flask project becomes. Without pytest-asyncio, too."""
    pytester.makepyfile("""
        import asyncio
        from unittest import IsolatedAsyncioTestCase, TestCase
        from decant.bridge import wait

        async def value(v):
            await asyncio.sleep(0)
            return v

        class Sync(TestCase):
            def test_sync(self):
                assert wait(value(1)) == 1

        class Async(IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.made = wait(value("made"))

            async def asyncTearDown(self):
                assert wait(value("gone")) == "gone"

            async def test_async(self):
                assert wait(value(self.made)) == "made"

            def test_sync(self):
                assert self.made == "made"
    """)
    run().assert_outcomes(passed=3)


def test_hypothesis_examples_are_bridged(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("""
        from hypothesis import given, settings, strategies
        from decant.bridge import wait

        async def value(v):
            return v

        @settings(max_examples=5, database=None)
        @given(strategies.integers())
        async def test_it(n):
            assert wait(value(n)) == n
    """)
    run(*ASYNCIO, "-p", "_hypothesis_pytestplugin").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("option", "imports", "bridged"),
    [("auto", False, False), ("auto", True, True), ("on", False, True), ("off", True, False)],
)
def test_the_option_decides_whether_tests_are_bridged(
    pytester: pytest.Pytester, run: Run, option: str, imports: bool, bridged: bool
) -> None:
    """``auto`` leaves the tests of projects alone that do not import ``decant.bridge``."""
    pytester.makepyfile(f"""
        import greenlet
        {"import decant.bridge" if imports else ""}

        async def test_it():
            assert (type(greenlet.getcurrent()) is not greenlet.greenlet) is {bridged}
    """)
    run(*ASYNCIO, "-o", f"decant_bridge={option}", apart=True).assert_outcomes(passed=1)


def test_a_wrong_option_is_refused_with_what_is_allowed(run: Run) -> None:
    result = run("-o", "decant_bridge=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*decant_bridge = \'maybe\'*"auto", "on" or "off"*'])


def test_a_failure_shows_the_test_and_not_the_bridge(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("""
        import decant.bridge

        async def test_it():
            assert 1 == 2
    """)
    result = run(*ASYNCIO)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       assert 1 == 2"])
    result.stdout.no_fnmatch_line("*greenlets.py*")
    result.stdout.no_fnmatch_line("*decant/testing*")


def test_the_fixtures_use_the_projects_app(pytester: pytest.Pytester, run: Run) -> None:
    """``client`` has Flask's arguments for a plain Quart too; ``runner``; ``app_context`` is current, then ended."""
    pytester.makeconftest(PLAIN)
    pytester.makepyfile("""
        from quart import current_app, g, has_app_context

        async def test_client(client, app):
            assert type(client).__module__ == "decant.testing.client"
            assert (await client.get("/", environ_base={"REMOTE_ADDR": "10.0.0.1"})).text == "index"

        def test_runner(runner):
            assert "hello from a command" in runner.invoke(args=["hello"]).output

        async def test_context(app_context, app):
            assert current_app.name == "project"
            g.value = 1
            assert app_context.app is app

        def test_context_in_a_sync_test(app_context):
            assert current_app.name == "project"
            assert not hasattr(g, "value")

        async def test_no_context(app):
            assert not has_app_context()
    """)
    run(*ASYNCIO).assert_outcomes(passed=5)


def test_the_fixtures_work_in_strict_mode_and_with_an_async_app(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("""
        import pytest, pytest_asyncio
        from quart import Quart, current_app
        from decant.bridge import wait

        @pytest_asyncio.fixture
        async def app():
            app = Quart("project", static_folder=None)
            app.ready = wait(ready())
            yield app

        async def ready():
            return True

        @pytest.mark.asyncio
        async def test_it(client, app_context):
            assert current_app.ready
            assert (await client.get("/")).status_code == 404
    """)
    run(*STRICT, apart=True).assert_outcomes(passed=1)


def test_the_fixtures_work_without_pytest_asyncio(pytester: pytest.Pytester, run: Run) -> None:
    """Synchronous tests wait; what was current ends with the test."""
    pytester.makeconftest(PLAIN)
    pytester.makepyfile("""
        from quart import current_app, g, has_app_context
        from decant import wait

        def test_client(client):
            assert wait(client.get("/")).text == "index"

        def test_context(app_context, app):
            assert current_app.name == "project"
            g.value = 1

        def test_context_again(app_context, app):
            assert current_app._get_current_object() is app
            assert not hasattr(g, "value")

        def test_no_context():
            assert not has_app_context()
    """)
    run(apart=True).assert_outcomes(passed=4)


def test_a_flask_app_is_served_as_well(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("""
        import sys
        import flask, pytest

        @pytest.fixture
        def app():
            return flask.Flask("project")

        def test_it(client, runner, app_context):
            assert client.get("/").status_code == 404
            assert flask.current_app.name == "project"
            assert "decant.bridge" not in sys.modules
            assert "quart" not in sys.modules
    """)
    run(apart=True).assert_outcomes(passed=1)


def test_a_missing_app_fixture_is_explained(pytester: pytest.Pytester, run: Run) -> None:
    """Where ``app`` is missing, not where something that it needs is."""
    pytester.makepyfile("""
        def test_it(client):
            pass
    """)
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*the fixture 'client' of decant.testing needs a fixture 'app' of yours*", "*def app():"]
    )
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def app(missing):
            pass

        def test_it(client):
            pass
    """)
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'missing' not found*"])


def test_a_client_fixture_of_another_plugin_or_of_the_project_goes_first(pytester: pytest.Pytester, run: Run) -> None:
    """As pytest-flask's and pytest-django's, whichever plugin is loaded first."""
    pytester.makepyfile(
        other_plugin="""
            import pytest

            @pytest.fixture
            def client():
                return "the other plugin's"
        """,
        test_it="""
            import pytest

            def test_other(client):
                assert client == "the other plugin's"

            class TestOwn:
                @pytest.fixture
                def runner(self):
                    return "own"

                def test_own(self, runner):
                    assert runner == "own"
        """,
    )
    pytester.syspathinsert()
    run("-p", "other_plugin").assert_outcomes(passed=2)


def test_the_plugin_is_inert_where_decant_is_merely_installed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its entry point, it imports nothing, warns of nothing, and leaves a Flask project's tests alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("""
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("decant")
            heavy = {"quart", "flask", "werkzeug", "sqlalchemy", "hypercorn", "greenlet", "asyncio", "decant.bridge"}
            assert not heavy & set(sys.modules)
            assert sorted(name for name in sys.modules if name.startswith("decant")) == [
                "decant", "decant.testing", "decant.testing.fixtures", "decant.testing.plugin"
            ]
    """)
    pytester.runpytest_subprocess("-p", "decant", "-W", "error").assert_outcomes(passed=1)


def test_the_examples_of_the_documentation_run(pytester: pytest.Pytester, run: Run) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "testing.md").read_text()
    blocks = re.findall(r"```python\n# (\S+)\.py\n(.*?)```", page, re.DOTALL)
    pytester.makepyfile(**dict(blocks))
    run(*ASYNCIO, apart=True).assert_outcomes(passed=6)


def test_uvloop_is_bridged_too(pytester: pytest.Pytester, run: Run) -> None:
    pytest.importorskip("uvloop")
    pytester.makeconftest("""
        import uvloop

        def pytest_asyncio_loop_factories(config, item):
            return {"uvloop": uvloop.new_event_loop}
    """)
    pytester.makepyfile("""
        import asyncio
        from decant.bridge import wait
        from decant.testing import Client
        from quart import Quart, g

        app = Quart("project", static_folder=None)

        @app.get("/")
        async def view():
            g.value = 1
            return ""

        async def test_it():
            assert "uvloop" in type(asyncio.get_running_loop()).__module__
            assert wait(asyncio.sleep(0, 1)) == 1
            with Client(app) as client:
                await client.get("/")
                assert g.value == 1
    """)
    run(*ASYNCIO).assert_outcomes(passed=1)


@pytest.mark.parametrize("where", ["conftest", "fixture"])
def test_the_client_is_imported_before_a_test_runs(pytester: pytest.Pytester, run: Run, where: str) -> None:
    """Not by app.test_client() on the event loop, where an import blocks: also if a fixture imports the application."""
    early = "from decant import Quart" if where == "conftest" else ""
    pytester.makeconftest(f"""
        import sys
        import pytest
        {early}

        @pytest.fixture
        def app():
            assert ("decant.testing.client" in sys.modules) is {where == "conftest"}
            from decant import Quart
            return Quart("project", static_folder=None)
    """)
    pytester.makepyfile("""
        import sys

        async def test(app):
            loaded = set(sys.modules)
            app.test_client(), app.test_cli_runner()
            assert set(sys.modules) == loaded
    """)
    run(*ASYNCIO, apart=True).assert_outcomes(passed=1)
