"""Password hashes: argon2id, in a small pool of threads of their own, so that log-ins cannot use up a server."""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from quart import Quart, current_app

from decant.bridge import Threads

from ..config import Settings

__all__ = ["Passwords", "init_passwords", "passwords"]

_MOST_QUEUED = 100


def _normal(password: str) -> str:
    # Half a surrogate pair cannot be encoded; it is no character that a keyboard makes.
    return unicodedata.normalize("NFC", password).encode("utf-8", "replace").decode()


class Passwords:
    """Hashes and verifies with the parameters of the settings; hashing releases the GIL.

    :raises Overloaded: when :data:`_MOST_QUEUED` calls wait for a thread already.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.ARGON2_TIME_COST,
            memory_cost=settings.ARGON2_MEMORY_COST_KIB,
            parallelism=settings.ARGON2_PARALLELISM,
        )
        self._nobodys = self._hasher.hash("nobody has this password")
        self.threads = Threads(settings.HASH_THREADS, max_queued=_MOST_QUEUED, may_wait=False)

    async def hash(self, password: str) -> str:
        return await self.threads.run(self._hasher.hash, _normal(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password; an unknown user's, ``hashed=None``, takes as long as a wrong one."""
        right = await self.threads.run(self._verify, hashed or self._nobodys, _normal(password))
        return right and hashed is not None

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, hashed: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)


def init_passwords(app: Quart, settings: Settings) -> None:
    service = app.extensions["passwords"] = Passwords(settings)

    @app.after_serving
    async def close() -> None:
        service.threads.close()


def passwords() -> Passwords:
    """The current application's."""
    service: Passwords = current_app.extensions["passwords"]
    return service
