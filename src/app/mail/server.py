"""The SMTP server that takes our mail: one connection per mail, with deadlines."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from quart import Quart

__all__ = ["MailLater", "MailRefused", "MailServer", "init_mail_server", "send"]

_STEP_S, _TOTAL_S = 10.0, 60.0
_PORTS = {"smtp": 25, "smtps": 465}
_ALLOWED = "an SMTP URL is needed, as in smtp://user:password@host:587?starttls=1 or smtps://user:password@host"


class MailLater(Exception):
    """The server could not be reached, or said that it may be better later (4xx)."""


class MailRefused(Exception):
    """The server does not want this mail, and will not want it later (5xx)."""


@dataclass(frozen=True)
class MailServer:
    """Where mail goes. ``starttls``: True encrypts or fails, None encrypts where the server can, False never."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    starttls: bool | None = None

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """``smtp://user:password@host:port?starttls=0|1`` or ``smtps://…``.

        Without ``starttls=0`` a password is only sent encrypted.

        :raises ValueError: if it is no such URL; the text does not have the password in it.
        """
        try:
            parts = urlsplit(url)
            host, port, query = parts.hostname, parts.port, parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError:
            raise ValueError(_ALLOWED) from None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or query.keys() - {"starttls"}:
            raise ValueError(_ALLOWED)
        asked = query.get("starttls", [None])[-1]
        if asked not in (None, "0", "1") or (asked and parts.scheme == "smtps"):
            raise ValueError(f"{_ALLOWED}; starttls is 0 or 1, and not for smtps")
        starttls = asked == "1" if asked is not None else (True if parts.password else None)
        return cls(
            host,
            port or _PORTS[parts.scheme],
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "smtps",
            starttls=False if parts.scheme == "smtps" else starttls,
        )

    async def send(self, message: EmailMessage, *, context: ssl.SSLContext | None = None) -> None:
        """Hand over a message.

        :raises MailLater: if that may work later.
        :raises MailRefused: if it will not.
        """
        smtp = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.tls,
            start_tls=self.starttls,
            timeout=_STEP_S,
            tls_context=context,
        )
        try:
            async with asyncio.timeout(_TOTAL_S), smtp:
                await smtp.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _told([refused.code for refused in error.recipients], str(error.recipients[0].message)) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _told([error.code], error.message) from error
        except (ssl.SSLError, ValueError) as error:
            raise MailRefused(str(error)) from error
        except OSError as error:  # what is lost, refused or took too long is one
            raise MailLater(str(error) or "the mail server took too long") from error
        except aiosmtplib.SMTPException as error:  # it cannot do what is wanted of it: STARTTLS, AUTH
            raise MailRefused(str(error)) from error


def _told(codes: list[int], message: str) -> Exception:
    text = f"{codes[0]} {message}"[:300]
    return MailRefused(text) if all(code >= 500 for code in codes) else MailLater(text)


def init_mail_server(app: Quart) -> None:
    """Read SMTP_URL, if it is set, and the certificates that its server's is checked by."""
    url = app.config["SMTP_URL"]
    if url is None:
        return
    server = app.extensions["mail_server"] = MailServer.parse(url.get_secret_value())
    app.extensions["mail_tls"] = ssl.create_default_context() if server.tls or server.starttls is not False else None


async def send(app: Quart, message: EmailMessage) -> None:
    """:meth:`MailServer.send` of the application's server."""
    server: MailServer = app.extensions["mail_server"]
    await server.send(message, context=app.extensions["mail_tls"])
