"""One attempt to send a message: a POST to a webhook, or an e-mail. Nothing here raises, or touches the database."""

import asyncio
import smtplib
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from promptops.alerts import messages, signing
from promptops.alerts.actions.deliveries import Answer
from promptops.alerts.actions.destinations import private_hosts
from promptops.alerts.enums import DestinationKind
from promptops.alerts.models import Delivery, Destination
from promptops.engine.addresses import public_socket
from promptops.engine.http import CallFailed
from promptops.engine.posting import ShortReply, post_once
from promptops.platform import crypto

WEBHOOK_SECONDS = 15.0
"""Of the 15 to 30 seconds that Standard Webhooks recommends."""
EMAIL_SECONDS = 30.0
ANSWER_BYTES = 2_000
QUOTED_CHARACTERS = 200
NO_MAIL = "Mail is not configured. Set EMAIL_URL in the server's environment."


async def send(delivery: Delivery, *, clock: Callable[[], float] = time.time) -> Answer:
    """Send the message to its destination, and return what the receiver answered. `clock` returns the Unix time."""
    try:
        if delivery.destination.kind == DestinationKind.EMAIL:
            return await _send_email(delivery)
        return await _post(delivery, clock)
    except crypto.UnreadableSecret:
        return Answer(False, "The stored secret was encrypted with another secret key. Enter the address again.")
    except Exception as error:  # a message that cannot be sent must not stop the others
        return Answer(False, f"It could not be sent ({type(error).__name__}).")


def signers(destination: Destination, now: datetime) -> list[str]:
    """Return the secrets that sign a message at that time: the current one, and the one before during a rotation."""
    stored = [destination.secret_encrypted]
    if destination.previous_secret_encrypted and destination.previous_until and now < destination.previous_until:
        stored.append(destination.previous_secret_encrypted)
    return [crypto.decrypt(each) for each in stored]


async def _post(delivery: Delivery, clock: Callable[[], float]) -> Answer:
    destination = delivery.destination
    body = messages.json_body(delivery)
    url = crypto.decrypt(destination.address_encrypted)
    signed = signing.headers(signers(destination, timezone.now()), delivery.message_id, int(clock()), body)
    headers = {"content-type": "application/json", **signed}
    socket_factory = public_socket(urlsplit(url).hostname or "", private_hosts())
    try:
        async with asyncio.timeout(WEBHOOK_SECONDS):
            reply = await post_once(url, body, headers, socket_factory=socket_factory, limit=ANSWER_BYTES)
    except TimeoutError:
        return Answer(False, f"The receiver did not answer within {WEBHOOK_SECONDS:.0f} s.")
    except CallFailed as failed:
        return Answer(False, f"The receiver {failed.reason}.")
    return Answer(
        is_delivered=200 <= reply.status < 300,
        words=_words(reply),
        is_gone=reply.status == HTTPStatus.GONE,
        retry_after=_retry_after(reply.headers.get("retry-after", ""), clock),
    )


def _words(reply: ShortReply) -> str:
    """Return status and beginning of an answer as one line."""
    try:
        status = f"{reply.status} {HTTPStatus(reply.status).phrase}"
    except ValueError:
        status = str(reply.status)
    if 300 <= reply.status < 400:
        return f"{status}. Redirects are not followed: enter the address that it leads to."
    text = reply.start.decode(errors="replace")
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return f"{status}: {line[:QUOTED_CHARACTERS]}" if line else status


def _retry_after(text: str, clock: Callable[[], float]) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), or None."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock())
    except (TypeError, ValueError):
        return None


async def _send_email(delivery: Delivery) -> Answer:
    if not settings.EMAIL_HOST:
        return Answer(False, NO_MAIL)
    try:
        async with asyncio.timeout(EMAIL_SECONDS):
            await asyncio.to_thread(_email(delivery).send)
    except TimeoutError:
        return Answer(False, f"The mail server did not answer within {EMAIL_SECONDS:.0f} s.")
    except smtplib.SMTPAuthenticationError:
        return Answer(False, "The mail server refused the user name or password of EMAIL_URL.")
    except smtplib.SMTPRecipientsRefused as refused:
        return Answer(False, f"The mail server refused every recipient: {_first_reason(refused)}")
    except smtplib.SMTPResponseException as refused:
        return Answer(False, f"The mail server answered {refused.smtp_code}: {_line(refused.smtp_error)}")
    except (smtplib.SMTPException, OSError) as error:
        return Answer(False, f"The mail server could not be reached ({_line(str(error)) or type(error).__name__}).")
    return Answer(True, f"The mail server took it for {len(delivery.destination.recipients)} recipients.")


def _email(delivery: Delivery) -> EmailMessage:
    host = urlsplit(settings.PUBLIC_ADDRESS).hostname or "promptops.invalid"
    return EmailMessage(
        subject=messages.subject(delivery),
        body=messages.text_body(delivery),
        to=delivery.destination.recipients,
        headers={
            "Auto-Submitted": "auto-generated",  # RFC 3834: no out-of-office answers
            "Message-ID": f"<{delivery.message_id}.{delivery.destination_id}@{host}>",
        },
    )


def _first_reason(refused: smtplib.SMTPRecipientsRefused) -> str:
    code, words = next(iter(refused.recipients.values()))
    return f"{code} {_line(words)}"


def _line(words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:QUOTED_CHARACTERS]
