"""What holds for every room of the house: public names, sizes, what imports may cost, what the wheel holds."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import decant
from decant import errors

ROOT = Path(__file__).parent.parent
MODULES = sorted(module.name for module in pkgutil.walk_packages(decant.__path__, "decant."))
PUBLIC = [name for name in MODULES if not name.endswith("__main__") and ".templates." not in name]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name: str) -> None:
    """``__all__`` is explicit in each module that has public names, and tells the truth."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    if exported is None:
        source = Path(str(module.__file__)).read_text()
        assert "\ndef " not in source, f"{name} defines functions and has no __all__"
        assert "\nclass " not in source, f"{name} defines classes and has no __all__"
    else:
        assert [attribute for attribute in exported if not hasattr(module, attribute)] == []


def _below(kind: type[Exception]) -> set[str]:
    ours = [child for child in kind.__subclasses__() if child.__module__.startswith("decant.")]
    return {name for child in ours for name in (child.__name__, *_below(child))}


def test_the_tree_of_errors_has_them_all() -> None:
    """As the docstring of ``decant.errors`` draws it; what is private is nobody's business."""
    for name in PUBLIC:
        importlib.import_module(name)
    drawn = set(re.findall(r"── (\w+)", str(errors.__doc__)))
    assert drawn == {name for name in _below(errors.DecantError) if not name.startswith("_")}


def test_no_module_is_over_400_lines() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {path: lines for path, lines in sizes.items() if lines > 400} == {}


def test_each_file_of_the_bridge_stays_under_250_lines() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "src/decant/bridge").glob("*.py")}
    assert max(sizes.values()) < 250, sizes


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize(
    ("imported", "never"),
    [
        ("decant", ["sqlalchemy", "redis", "arq"]),
        ("decant.bridge", ["sqlalchemy", "quart", "redis"]),
        ("decant.quart", ["sqlalchemy", "redis", "arq"]),
        ("decant.redis", ["sqlalchemy", "arq"]),
        ("decant.cache", ["sqlalchemy", "arq"]),
        ("decant.cors", ["sqlalchemy", "redis", "arq"]),
        ("decant.cdn", ["sqlalchemy", "redis", "arq"]),
        ("decant.executor", ["sqlalchemy", "redis", "arq"]),
        ("decant.cli", ["sqlalchemy", "redis", "arq", "quart"]),
        ("decant.testing.plugin", ["sqlalchemy", "redis", "quart"]),
    ],
)
def test_an_import_brings_in_only_what_it_needs(imported: str, never: list[str]) -> None:
    """So that step 0 runs in the environment that a Flask team has."""
    result = python(f"import sys, {imported}; print([name for name in {never!r} if name in sys.modules])")
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("decant.database", "sqlalchemy", "database"),
        ("decant.redis", "redis", "redis"),
        ("decant.cache", "msgspec", "cache"),
        ("decant.cache.backends.redis", "redis", "redis"),
        ("decant.cache.backends.replicated", "redis", "redis"),
        ("decant.cache.backends.memcached", "aiomcache", "memcached"),
        ("decant.limiter", "limits", "limiter"),
        ("decant.socketio", "socketio", "socketio"),
    ],
)
def test_an_import_that_lacks_its_extra_says_which(module: str, missing: str, extra: str) -> None:
    result = python(f"import sys; sys.modules[{missing!r}] = None; import {module}")
    assert result.returncode == 1
    assert f"pip install 'quart-decant[{extra}]'" in result.stderr.splitlines()[-1]


def test_the_wheel_holds_decant_alone(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=110,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"decant"}
    assert "decant/py.typed" in names
    missing = [
        path
        for path in (str(file.relative_to(ROOT / "src")) for file in (ROOT / "src/decant").rglob("*.lua"))
        if path not in names
    ]
    assert missing == []
