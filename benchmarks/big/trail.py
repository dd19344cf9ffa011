"""The audit: the entries of all releases, and those of people's daily work around them, in one valid chain."""

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from typing import Any

DAILY = [  # action, kind of object, how often of a hundred
    ("user.signed_in", "user", 33),
    ("user.signed_out", "user", 14),
    ("user.sign_in_failed", "user", 5),
    ("safety.reviewed", "run", 20),
    ("run.revealed", "run", 12),
    ("run.erased", "run", 3),
    ("template.described", "template", 3),
    ("comparison.started", "comparison", 2),
    ("comparison.exported", "comparison", 3),
    ("access.refused", "", 2),
    ("audit.exported", "", 2),
    ("user.role_changed", "user", 1),
]
COLUMNS = (
    "seq",
    "at",
    "action",
    "actor_id",
    "actor_name",
    "address",
    "object_type",
    "object_id",
    "object_name",
    "before",
    "after",
    "note",
    "revision",
    "token_id",
    "request_id",
    "previous_sha256",
    "sha256",
)


def chained(entries: Iterator[dict[str, Any]], head: Any) -> Iterator[tuple[Any, ...]]:
    """Return the entries as rows of COLUMNS, each with the hash of the one before, and move the head along."""
    from promptops.ledger import audit

    for entry in entries:
        person = entry.get("actor")
        values = (
            head.seq + 1,
            entry["at"],
            entry["action"],
            person.pk if person else None,
            person.name if person else "Somebody",
            entry.get("address", ""),
            entry.get("object_type", ""),
            entry.get("object_id", ""),
            entry.get("object_name", ""),
            entry.get("before"),
            entry.get("after"),
            entry.get("note", ""),
            entry.get("revision"),
            entry.get("token"),
            entry.get("request_id"),
            head.sha256,
        )
        head.seq += 1
        head.sha256 = hashlib.sha256(audit.canonical_json(audit.hashed(values)).encode()).hexdigest()
        yield (*values, head.sha256)


def entries(
    count: int,
    releases: list[dict[str, Any]],
    people: list[Any],
    templates: list[Any],
    runs: int,
    span: tuple[Any, Any],
) -> Iterator[dict[str, Any]]:
    """Return `count` entries in the order of time, those of the releases among them."""
    daily = _daily(max(0, count - len(releases)), people, templates, runs, span)
    return merge(releases, daily, key=lambda entry: entry["at"])


def _daily(
    count: int, people: list[Any], templates: list[Any], runs: int, span: tuple[datetime, datetime]
) -> Iterator[dict[str, Any]]:
    dice = random.Random(13)
    kinds = dice.choices(DAILY, [often for _, _, often in DAILY], k=count)
    step = (span[1] - span[0]) / max(1, count)
    for number, (action, kind, _) in enumerate(kinds):
        person = dice.choice(people)
        entry: dict[str, Any] = {
            "at": span[0] + number * step,
            "action": action,
            "actor": None if action == "user.sign_in_failed" else person,
            "address": f"192.0.2.{dice.randrange(250)}",
            "object_type": kind,
        }
        if kind == "user":
            entry |= {"object_id": str(person.pk), "object_name": person.username}
        elif kind == "run":
            run = dice.randrange(1, runs + 1)
            entry |= {"object_id": str(run), "object_name": f"run {run}"}
        elif kind == "template":
            template = dice.choice(templates)
            entry |= {"object_id": str(template.pk), "object_name": template.name}
        elif kind == "comparison":
            entry |= {"object_id": "1", "object_name": "Old or new"}
        if action == "safety.reviewed":
            entry["after"] = {"side": dice.choice(("input", "output")), "review": dice.choice(("right", "wrong"))}
        elif action == "template.described":
            entry |= {"before": {"description": "For dawn"}, "after": {"description": "For night scenes"}}
        elif action.endswith("exported"):
            entry["after"] = {"format": "csv", "what": "votes"}
        elif action == "user.role_changed":
            entry |= {"before": {"role": "viewer"}, "after": {"role": "editor"}}
        elif action == "access.refused":
            entry |= {"object_name": "people", "after": {"method": "GET", "needs": "administer"}}
        if number % 9 == 0:
            entry["note"] = "shorter camera notes"
        yield entry
