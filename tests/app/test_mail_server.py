"""Handing mail to an SMTP server: a real one, on loopback."""

from __future__ import annotations

import asyncio
from email.headerregistry import Address
from email.message import EmailMessage

import pytest

from app.mail import server as server_module
from app.mail.addresses import address, sender
from app.mail.server import MailLater, MailRefused, MailServer

from .mailbox import mailbox


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Decant <links@sho.rt>", "ada@example.com", "Grüße"
    made.set_content("Grüße ☃\n.\n")
    return made


@pytest.mark.parametrize(
    ("url", "made"),
    [
        ("smtp://mail.example", MailServer("mail.example", 25)),
        ("smtp://mail.example:2525/", MailServer("mail.example", 2525)),
        ("smtps://mail.example", MailServer("mail.example", 465, tls=True, starttls=False)),
        ("smtp://ada:p%20w@mail.example:587", MailServer("mail.example", 587, "ada", "p w", starttls=True)),
        ("smtp://ada:p@mail.example?starttls=0", MailServer("mail.example", 25, "ada", "p", starttls=False)),
        ("smtp://mail.example?starttls=1", MailServer("mail.example", 25, starttls=True)),
        ("smtps://a:b@[::1]:5", MailServer("::1", 5, "a", "b", tls=True, starttls=False)),
    ],
)
def test_the_urls_of_servers(url: str, made: MailServer) -> None:
    """A password is only sent encrypted, unless the URL says otherwise; it is not in the repr."""
    assert MailServer.parse(url) == made
    assert "p w" not in repr(made)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://mail.example:99999",
            "smtp://mail.example/inbox",
        ),
        *("smtp://mail.example?tls=1", "smtp://mail.example?starttls=2", "smtps://mail.example?starttls=1", "smtp://["),
    ],
)
def test_what_is_no_url_of_a_server(url: str) -> None:
    """The error says what one looks like."""
    with pytest.raises(ValueError, match=r"smtp://user:password@host:587"):
        MailServer.parse(url)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada+links@Example.COM ", "Ada+links@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("o'neil@sub.example.co", "o'neil@sub.example.co"),
        ("ada@example.com.", "ada@example.com"),
        ("ada@bücher.example。", "ada@xn--bcher-kva.example"),
    ],
)
def test_addresses(given: str, made: str) -> None:
    """The domain in lower-case ASCII; the part before it is the mailbox's own business. A header takes all of it."""
    assert address(given) == made
    assert str(Address(addr_spec=made)) == made


@pytest.mark.parametrize(
    "given",
    [
        *(
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@localhost.",
            "ada@1.2.3.4",
            "ada@1.2.3.4.",
            "a b@example.com",
            "ada@exa mple.com",
        ),
        *(".ada@example.com", "a..b@example.com", "ada@example..com", "ada@-x.com", "grüße@example.com"),
        *("ada@example.com\nBcc: eve@example.com", "ada@example.com,eve@example.com", "<ada@example.com>"),
        *("x" * 65 + "@example.com", "ada@" + "x" * 300 + ".com", "ada@" + ".".join(["x" * 60] * 5)),
    ],
)
def test_what_is_no_address(given: str) -> None:
    """Nothing that could say more in a header than an address."""
    with pytest.raises(ValueError, match="address"):
        address(given)


@pytest.mark.parametrize("given", ["ada@example.com", "Decant <links@sho.rt>", '"Links, short" <links@sho.rt>'])
def test_senders(given: str) -> None:
    """As they are written."""
    assert sender(given) == given


@pytest.mark.parametrize("given", ["", "Decant", "Decant <links>", "a@b.c\nBcc: d@e.f"])
def test_what_is_no_sender(given: str) -> None:
    with pytest.raises(ValueError, match=r"address|sender"):
        sender(given)


async def test_a_mail_arrives() -> None:
    """With every character, and to whom it is addressed."""
    async with mailbox() as box:
        await MailServer.parse(box.url).send(message())
    assert box.recipients == ["ada@example.com"]
    assert box.messages[0]["Subject"] == "Grüße"
    assert box.messages[0].get_content().splitlines() == ["Grüße ☃", "."]


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [("451 try later", MailLater), ("452 mailbox full", MailLater), ("550 no such user", MailRefused)],
)
async def test_what_the_server_answers(command: str, answer: str, error: type[Exception]) -> None:
    """4xx is for now, 5xx for good."""
    async with mailbox() as box:
        box.answers[command] = answer
        with pytest.raises(error, match=answer):
            await MailServer.parse(box.url).send(message())
        assert box.messages == []
        box.answers.clear()
        await MailServer.parse(box.url).send(message())


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_password_is_shown() -> None:
    """To a server that asks for one; a wrong one is refused for good."""
    async with mailbox(auth_required=True, auth_require_tls=False) as box:
        host = f"127.0.0.1:{box.port}"
        await MailServer.parse(f"smtp://ada:p%20w@{host}?starttls=0").send(message())
        with pytest.raises(MailRefused):
            await MailServer.parse(f"smtp://ada:wrong@{host}?starttls=0").send(message())
        with pytest.raises(MailRefused):
            await MailServer.parse(f"smtp://{host}").send(message())
        assert len(box.messages) == 1


async def test_a_password_is_not_sent_in_the_clear() -> None:
    """A server that does not encrypt gets neither it nor the mail."""
    async with mailbox(auth_require_tls=False) as box:
        with pytest.raises(MailRefused, match="STARTTLS"):
            await MailServer.parse(f"smtp://ada:p%20w@127.0.0.1:{box.port}").send(message())
        assert (box.passwords, box.messages) == ([], [])


async def test_a_server_that_is_away() -> None:
    """Refuses connections, or hangs up: later."""
    async with mailbox() as box:
        pass
    with pytest.raises(MailLater):
        await MailServer.parse(box.url).send(message())
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    with pytest.raises(MailLater):
        await MailServer("127.0.0.1", server.sockets[0].getsockname()[1]).send(message())
    server.close()


async def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is waited for so long, no longer."""
    monkeypatch.setattr(server_module, "_STEP_S", 0.2)
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    with pytest.raises(MailLater, match=r"(?i)time|too long"):
        await MailServer("127.0.0.1", server.sockets[0].getsockname()[1]).send(message())
    for writer in writers:
        writer.close()
    server.close()
