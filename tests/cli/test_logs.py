"""The lines that an application logs are there once, whoever made its logger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = """
import logging
import flask
import quart
from decant.cli.logs import log_to_stderr

{before}
for app in (flask.Flask("shop"), quart.Quart("half")):
    app.logger.warning("imported %s", app.name)
silent = flask.Flask("silent")
silent.logger.propagate = False
silent.logger.warning("imported silent")
log_to_stderr("INFO", "%(name)s: %(message)s")
for name in ("shop", "half", "silent"):
    logging.getLogger(name).warning("served %s", name)
flask.Flask("late").logger.info("served late")
"""


def said(folder: Path, before: str = "") -> list[str]:
    """The lines after the import."""
    (folder / "toy.py").write_text(SOURCE.replace("{before}", before))
    done = subprocess.run([sys.executable, "toy.py"], capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "served" in line]


def test_each_line_is_there_once(tmp_path: Path) -> None:
    """Flask's and Quart's own handlers go; a logger that hands nothing on keeps its own."""
    lines = said(tmp_path)
    assert [line for line in lines if "silent" not in line] == [
        "shop: served shop",
        "half: served half",
        "late: served late",
    ]
    assert [line.partition("] ")[2] for line in lines if "silent" in line] == ["WARNING in toy: served silent"]


def test_an_application_that_has_said_how_it_logs_is_left_alone(tmp_path: Path) -> None:
    lines = said(tmp_path, 'logging.basicConfig(format="mine %(message)s")')
    assert [line for line in lines if "silent" not in line] == ["mine served shop", "mine served half"]
