"""Requests without a pause to a server on this machine, from threads of the test."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from types import TracebackType

__all__ = ["Load", "get"]


def get(address: tuple[str, int], path: str = "/", timeout_s: float = 30, **headers: str) -> tuple[int, str]:
    """The status and the body of an answer, on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Connection": "close", **headers})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Load:
    """In the block ``clients`` ask for ``path`` again and again; ``answers`` counts bodies, ``failures`` has errors."""

    def __init__(self, address: tuple[str, int], path: str = "/", clients: int = 8) -> None:
        self.address, self.path = address, path
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                status, body = get(self.address, self.path)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                continue
            if status == 200:
                self.answers[body] += 1
            else:
                self.failures.append(f"{status} {body}")
