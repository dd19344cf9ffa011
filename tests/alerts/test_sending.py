"""Attempts at real receivers on loopback, and e-mail to Django's memory and to a small mail server."""

import asyncio
import json
import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core import mail
from django.utils import timezone

from promptops.alerts import messages, sending, signing
from promptops.alerts.actions import destinations
from promptops.alerts.actions.deliveries import Answer
from promptops.alerts.models import Delivery, Destination
from promptops.engine import posting
from promptops.platform import crypto
from tests.engine.helpers import Respond, closed_port, http_answer, loopback

BEGIN = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def delivery_to(url: str = "", **fields) -> Delivery:
    """Return an unsaved message to an unsaved destination."""
    destination = Destination(
        pk=1,
        name="On call",
        kind="webhook" if url else "email",
        address_encrypted=crypto.encrypt(url) if url else "",
        secret_encrypted=crypto.encrypt(SECRET),
        recipients=["ada@example.org", "eddie@example.org"],
    )
    values = {
        "message_id": "msg_1",
        "type": "promptops.provider.down.begun",
        "title": "groq is down: 狐狸.",
        "data": {"alert": 7, "state": "begun", "begun_at": BEGIN.isoformat(), "ended_at": None, "provider": "groq"},
        "page": "/providers/",
        "happened_at": BEGIN,
    }
    return Delivery(destination=destination, **values | fields)


def sent(respond: Respond, delivery: Delivery | None = None) -> tuple[Answer, list]:
    """Send a message to a loopback server, and return the answer and what the server received."""

    async def send() -> tuple[Answer, list]:
        async with loopback(respond) as server:
            message = delivery or delivery_to(server.url)
            message.destination.address_encrypted = crypto.encrypt(f"{server.url}/hook?key=1")
            return await sending.send(message, clock=lambda: 1614265330.9), server.requests

    return asyncio.run(send())


def answer(status: int = 200, body: object = "", **headers: str) -> Respond:
    """Return a responder with this answer."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        raw = http_answer(body, status)
        first, rest = raw.split(b"\r\n", 1)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()).encode()
        writer.write(first + b"\r\n" + lines + rest)

    return respond


@pytest.fixture
def loopback_allowed(settings):
    settings.WEBHOOK_PRIVATE_HOSTS = ["127.0.0.0/8"]
    settings.PUBLIC_ADDRESS = "https://promptops.example.org"


def test_a_webhook_is_signed_json(loopback_allowed):
    result, (request,) = sent(answer(204))
    assert (result.is_delivered, result.words) == (True, "204 No Content")
    assert request.path.endswith("/hook?key=1")
    assert request.body == {
        "type": "promptops.provider.down.begun",
        "timestamp": "2026-11-28T12:30:00.000Z",
        "text": "groq is down: 狐狸.",
        "data": {
            "alert": 7,
            "state": "begun",
            "begun_at": "2026-11-28T12:30:00+00:00",
            "ended_at": None,
            "provider": "groq",
            "url": "https://promptops.example.org/providers/",
        },
    }
    body = json.dumps(request.body, ensure_ascii=False, separators=(",", ":")).encode()
    expected = signing.headers([SECRET], "msg_1", 1614265330, body)
    assert expected.items() <= request.headers.items()
    assert request.headers["content-type"] == "application/json"


def test_both_secrets_sign_during_a_rotation_only(loopback_allowed):
    message = delivery_to("http://127.0.0.1/")
    message.destination.previous_secret_encrypted = crypto.encrypt(signing.new_secret())
    for left, count in ((60, 2), (-60, 1)):
        message.destination.previous_until = timezone.now() + timedelta(seconds=left)
        _, (request,) = sent(answer(), message)
        assert len(request.headers["webhook-signature"].split(" ")) == count


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (answer(500, {"error": "down\nnow"}), '500 Internal Server Error: {"error": "down\\nnow"}'),
        (answer(404, "x" * 9999), f"404 Not Found: {'x' * 200}"),
        (answer(299), "299"),
        (answer(302, Location="http://127.0.0.1:1/"), "302 Found. Redirects are not followed"),
    ],
)
def test_answers_in_short(loopback_allowed, respond, words):
    result, requests = sent(respond)
    assert result.words.startswith(words)
    assert len(result.words) < 300
    assert result.is_delivered is (words == "299")
    assert len(requests) == 1


@pytest.mark.parametrize(("text", "seconds"), [("120", 120), ("soon", None), ("-1", None), ("9" * 99, None)])
def test_410_and_retry_after(loopback_allowed, text, seconds):
    result, _ = sent(answer(410, retry_after=text))
    assert result == Answer(False, "410 Gone", is_gone=True, retry_after=seconds)


def test_a_receiver_that_does_not_answer_in_time(loopback_allowed, monkeypatch):
    monkeypatch.setattr(sending, "WEBHOOK_SECONDS", 0.05)

    async def never(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    result, _ = sent(never)
    assert result == Answer(False, "The receiver did not answer within 0 s.")


@pytest.mark.parametrize("body", [b"", b"x" * 5_000])
def test_a_body_that_never_ends_does_not_matter(loopback_allowed, monkeypatch, body):
    monkeypatch.setattr(posting, "BODY_SECONDS", 0.05)

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + body)
        await asyncio.sleep(60)

    result, _ = sent(endless)
    assert result == Answer(True, f"200 OK: {'x' * 200}" if body else "200 OK")


def test_a_private_address_is_refused_when_the_connection_is_made(monkeypatch):
    """The address was public when it was saved, and its name leads to loopback now."""
    result, requests = sent(answer())
    assert result.words == "The receiver was not called: 127.0.0.1 is a private address."
    assert (result.is_delivered, requests) == (False, [])
    port = closed_port()
    named = delivery_to(f"http://localhost:{port}/")
    assert "is a private address" in asyncio.run(sending.send(named)).words


def test_nobody_listens(loopback_allowed):
    result = asyncio.run(sending.send(delivery_to(f"http://127.0.0.1:{closed_port()}/")))
    assert result.words == "The receiver could not be reached: the connection was refused."


def test_a_secret_of_another_key_is_no_crash(loopback_allowed, settings):
    message = delivery_to("http://127.0.0.1/")
    settings.SECRET_KEY = "quite another secret key, long enough to be taken"
    assert "another secret key" in asyncio.run(sending.send(message)).words


# E-mail


def test_an_email_is_plain_text_with_the_host_in_its_subject(settings):
    settings.EMAIL_HOST, settings.PUBLIC_ADDRESS = "mail.example.org", "https://promptops.example.org"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    message = delivery_to(title="groq is down:\r\nBcc: everybody@example.org")
    assert async_to_sync(sending.send)(message) == Answer(True, "The mail server took it for 2 recipients.")
    (email,) = mail.outbox
    assert email.subject == "[PromptOps promptops.example.org] groq is down: Bcc: everybody@example.org"
    assert email.to == ["ada@example.org", "eddie@example.org"]
    assert "Since: 2026-11-28 12:30 UTC\nProvider: groq\n\nhttps://promptops.example.org/providers/\n" in email.body
    assert email.message()["Auto-Submitted"] == "auto-generated"
    assert len(messages.subject(delivery_to(title="long " * 99))) == messages.SUBJECT_CHARACTERS


def test_mail_that_is_not_configured(settings):
    settings.EMAIL_HOST = ""
    assert asyncio.run(sending.send(delivery_to())) == Answer(False, sending.NO_MAIL)


class MailServer:
    """A mail server for one message, on loopback. It refuses the recipients if `refuses` is true."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.lines: list[str] = []
        self.refuses = refuses
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rwb") as file:
            self._say(file, "220 here")
            in_data = False
            for raw in file:
                line = raw.decode().rstrip("\r\n")
                self.lines.append(line)
                if in_data and line != ".":
                    continue
                command = line[:4].upper()
                in_data = command == "DATA"
                refused = self.refuses and command == "RCPT"
                self._say(file, "550 unknown person" if refused else "354 go on" if in_data else "250 fine")
                if command == "QUIT":
                    return

    def _say(self, file, line: str) -> None:
        file.write(f"{line}\r\n".encode())
        file.flush()

    def close(self) -> None:
        self._listening.close()
        self._thread.join(5)


@pytest.mark.parametrize(
    ("refuses", "result"),
    [
        (False, Answer(True, "The mail server took it for 2 recipients.")),
        (True, Answer(False, "The mail server refused every recipient: 550 unknown person")),
    ],
)
def test_a_real_mail_server(settings, refuses, result):
    server = MailServer(refuses=refuses)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    assert asyncio.run(sending.send(delivery_to())) == result
    server.close()
    assert "rcpt TO:<ada@example.org>" in server.lines
    assert ("data" in server.lines) is not refuses


def test_a_mail_server_that_is_away(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", closed_port()
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "ada", "topsecret"
    result = asyncio.run(sending.send(delivery_to()))
    assert "could not be reached" in result.words
    assert "topsecret" not in result.words


@pytest.mark.parametrize(
    ("address", "private", "why"),
    [
        ("https://hooks.example.org/x?token=1", [], ""),
        ("http://hooks.example.org:8080/x", [], ""),
        ("https://8.8.8.8/", [], ""),
        ("https://10.0.0.5/", [], "10.0.0.5 is a private address"),
        ("https://10.0.0.5/", ["10.0.0.0/8"], ""),
        ("https://127.0.0.1/", [], "private"),
        ("https://0x7f000001/", [], "private"),
        ("https://[::1]/", [], "private"),
        ("https://[::ffff:10.0.0.5]/", [], "private"),
        ("https://100.64.0.1/", [], "private"),
        ("https://169.254.169.254/", ["169.254.0.0/16"], "metadata service"),
        ("https://metadata.google.internal/", ["*"], "metadata service"),
        ("https://user:password@hooks.example.org/", [], "Give an address"),
        ("ftp://hooks.example.org/", [], "Give an address"),
        ("https://", [], "Give an address"),
        ("https://hooks.example.org/\nHost: x", [], "Give an address"),
        ("https://hooks.example.org:99999/", [], "Give an address"),
        (f"https://hooks.example.org/{'x' * 2000}", [], "Give an address"),
    ],
)
def test_addresses_that_may_be_saved(settings, address, private, why):
    settings.WEBHOOK_PRIVATE_HOSTS = private
    try:
        destinations.clean_address(address)
    except destinations.ValidationError as error:
        said = " ".join(error.messages)
        assert why
        assert why in said
    else:
        assert not why
