"""``decant`` many times over, in processes forked from one that has imported what takes a second.

Run as a script it reads lines of JSON, ``[arguments, folder, environment]``, and answers each: ``[status, output]``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Forking"]

_LONGEST_S = 60


class Forking:
    """Runs ``decant`` with arguments, in a folder; to be closed."""

    def __init__(self) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([sys.executable, __file__], **pipes)

    def __call__(self, *arguments: str, cwd: Path, **environment: str) -> tuple[int, str]:
        """Its exit status, negative for a signal, and all that it has printed. It is killed after a minute."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([arguments, str(cwd), environment]) + "\n")
        self._process.stdin.flush()
        status, output = json.loads(self._process.stdout.readline())
        return status, output.strip()

    def close(self) -> None:
        self._process.communicate(timeout=10)


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """In the child, which is as ``python -m decant.cli`` is at its start."""
    from decant.cli import main

    signal.alarm(_LONGEST_S)
    os.chdir(folder)
    sys.path[0] = folder
    os.environ.update(environment)
    status: Any = 1
    try:
        main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:  # as Python tells it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _forked(request: list[Any]) -> tuple[int, str]:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(writes, number)
        os.close(reads)
        os.close(writes)
        _run(*request)
    os.close(writes)
    with open(reads, encoding="utf-8") as output:
        said = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def _serve() -> None:
    for module in ("decant.cli", "decant.tasks.worker.service", "decant.flask.modules.celery"):
        import_module(module)
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
