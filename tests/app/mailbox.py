"""An SMTP server of the tests' own, on loopback."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

__all__ = ["Mailbox", "mailbox"]


@dataclass
class Mailbox:
    """What came, and what the server answers: ``answers`` maps ``RCPT`` and ``DATA`` to what is said instead of yes."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    tried: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    passwords: list[bytes] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        self.tried += 1
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.answers:
            return self.answers["DATA"]
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        async with self.came:
            self.messages.append(message)
            self.recipients += envelope.rcpt_tos
            self.came.notify_all()
        return "250 OK"

    def authenticate(self, server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password)
        return AuthResult(success=data == LoginPassword(b"ada", b"p w"), handled=False)

    async def until(self, number: int) -> list[EmailMessage]:
        """The messages, as soon as there are so many."""
        async with asyncio.timeout(60), self.came:
            await self.came.wait_for(lambda: len(self.messages) >= number)
        return self.messages


@asynccontextmanager
async def mailbox(**options: Any) -> AsyncIterator[Mailbox]:
    """A server, with more arguments for ``aiosmtpd.smtp.SMTP``."""
    box = Mailbox()
    loop = asyncio.get_running_loop()

    def serve() -> SMTP:
        return SMTP(box, hostname="mail.example", authenticator=box.authenticate, loop=loop, **options)

    server = await loop.create_server(serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
