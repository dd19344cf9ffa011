"""Tokens, servers with their acknowledgements and reported runs, and levers that have ended."""

import random
from datetime import datetime, timedelta
from typing import Any

from benchmarks.big import bulk

REPORTED_HOURS = 7 * 24
ACKNOWLEDGED = 20
"""The newest releases that every server acknowledged."""


def tokens(count: int, people: list[Any]) -> None:
    """Make tokens of servers, a tenth of them revoked."""
    from django.utils import timezone

    from promptops.people.models import Token

    Token.objects.bulk_create(
        Token(
            name=f"gpu-{number}",
            token_sha256=f"{number:064x}",
            scopes=["follow", "read"],
            server=f"gpu-{number}",
            made_by=people[number % len(people)],
            made_by_name=people[number % len(people)].name,
            revoked_at=None if number % 10 else timezone.now(),
        )
        for number in range(count)
    )


def servers(count: int, revision: int, now: datetime) -> None:
    """Make servers, of which one in twenty is behind, one refuses a release, and one has drifted."""
    from promptops.fleet.models import Acknowledgement, Server
    from promptops.ledger.models import LiveConfiguration

    epoch = LiveConfiguration.objects.get(pk=1).epoch
    began = now - timedelta(days=1)
    Server.objects.bulk_create(
        Server(
            name=f"gpu-{number}",
            instance="1",
            kind="library",
            version="0.2.0",
            labels={"zone": "abc"[number % 3], "model": f"video-{number % 5}"},
            address=f"192.0.2.{number % 250}",
            first_heard_at=began,
            connected_at=began,
            since=began,
            heard_at=now,
            revision=revision - (number % 20 == 1),
            epoch=epoch,
            sha256=f"{revision:064x}",
            state="ready",
            refused_revision=revision if number == 1 else None,
            refused_at=now if number == 1 else None,
            refusal="The answer's contract is unknown." if number == 1 else "",
            drift="enhance.txt was changed by hand." if number == 2 else "",
            drifted_at=now if number == 2 else None,
            runs_a_minute=12.5,
            is_filtered=True,
        )
        for number in range(count)
    )
    dice = random.Random(37)
    columns = ("revision", "server", "instance", "kind", "outcome", "at", "seconds")
    rows = (
        (each, f"gpu-{number}", "1", "library", "applied", now, round(dice.expovariate(4), 3))
        for each in range(max(1, revision - ACKNOWLEDGED), revision + 1)
        for number in range(count)
    )
    bulk.insert(Acknowledgement, columns, rows)


def reported_runs(count: int, templates: list[Any], now: datetime) -> None:
    """Count runs that the servers made themselves in each hour of the last week."""
    from promptops.runs.models import ReportedRuns

    this_hour = now.replace(minute=0, second=0, microsecond=0)
    columns = ("hour", "server", "operation", "template", "version", "status", "runs", "attempts", "latencies")
    rows = (
        (
            this_hour - timedelta(hours=hours),
            f"gpu-{number}",
            templates[0].operation,
            templates[0].name,
            1,
            "succeeded",
            700,
            710,
            {"20": 400, "24": 300},
        )
        for hours in range(REPORTED_HOURS)
        for number in range(count)
    )
    bulk.insert(ReportedRuns, columns, rows)


def levers(count: int, revision: int, reader: Any, now: datetime) -> None:
    """Make levers that have ended: what is live has none."""
    from promptops.fleet.models import Lever

    Lever.objects.bulk_create(
        Lever(
            kind="freeze" if number % 2 else "pass_through",
            operation="" if number % 2 else "enhance",
            note="Bad prompts since the last release",
            user=reader,
            user_name=reader.name,
            pulled_at=now - timedelta(days=count - number),
            pulled_revision=max(1, revision - 2),
            expires_at=now - timedelta(days=count - number - 1),
            ended_at=now - timedelta(days=count - number - 1),
            ended_revision=max(1, revision - 1),
            ended_by=reader.name,
        )
        for number in range(count)
    )
