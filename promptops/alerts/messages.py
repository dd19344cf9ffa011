"""The bodies of messages: JSON for webhooks, plain text for e-mail. Both are made from a delivery, without secrets."""

import json
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from promptops.alerts.models import Delivery
from promptops.platform.addresses import public_address

SUBJECT_CHARACTERS = 200
HIDDEN_FACTS = frozenset({"alert", "state", "begun_at", "ended_at"})
"""Facts for machines. An e-mail says them in other words."""


def json_body(delivery: Delivery) -> bytes:
    """Return the body of a webhook: type, timestamp, text and data, as compact JSON."""
    data = dict(delivery.data)
    if delivery.page:
        data["url"] = public_address() + delivery.page
    body = {
        "type": delivery.type,
        "timestamp": delivery.happened_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "text": delivery.title,
        "data": data,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def subject(delivery: Delivery) -> str:
    """Return the subject of an e-mail, which names the installation's host. It is one line."""
    host = urlsplit(public_address()).netloc
    text = f"[PromptOps {host}] {delivery.title}"
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= SUBJECT_CHARACTERS else f"{line[: SUBJECT_CHARACTERS - 1]}…"


def text_body(delivery: Delivery) -> str:
    """Return the text of an e-mail: the sentence, when it happened, the facts, and where to read more."""
    data = delivery.data
    lines = [delivery.title, ""]
    if begun := data.get("begun_at"):
        lines.append(f"Since: {_clock(begun)}")
    if ended := data.get("ended_at"):
        lines.append(f"Until: {_clock(ended)}")
    if not begun:
        lines.append(f"At: {_clock(delivery.happened_at.isoformat())}")
    facts = [(name, value) for name, value in data.items() if name not in HIDDEN_FACTS and value not in (None, "", [])]
    lines += [f"{name.replace('_', ' ').capitalize()}: {_words(value)}" for name, value in facts]
    if delivery.page:
        lines += ["", f"{public_address()}{delivery.page}"]
    lines += [
        "",
        "-- ",
        f"Sent by PromptOps at {public_address()}. Administrators choose alerts under Settings, Alerts.",
    ]
    return "\n".join(lines) + "\n"


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _clock(text: str) -> str:
    return f"{text[:10]} {text[11:16]} UTC"
