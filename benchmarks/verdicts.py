"""The page of a large comparison: 4 arms, 500 inputs, two repeats, three voters on all six pairs."""

import random
import statistics
import time
from typing import Any

ARMS, INPUTS, REPEATS, VOTERS = 4, 500, 2, 3


def bench_verdicts() -> list[dict[str, Any]]:
    """Measure the comparison's page right after a vote and while nothing changes, and the voting page."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops.compare.models import Vote
    from promptops.people.models import User

    reader = User.objects.create(username="verdicts", name="Bench", role="administrator")
    comparison = _comparison(reader)
    _answer(comparison)
    ballots = _vote(comparison, reader)
    client = Client()
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    verdict = f"/compare/{comparison.pk}/"
    client.post(f"{verdict}seen/")
    _milliseconds(client, verdict)
    same = [_milliseconds(client, verdict) for _ in range(20)]
    voted = []
    for _ in range(10):
        # Another person's vote: a reader with ballots left would get a warning in place of the verdict.
        Vote.objects.filter(comparison=comparison).exclude(user=reader).last().delete()
        voted.append(_milliseconds(client, verdict))
    editor = User.objects.create(username="editor", name="E", role="editor")
    client.force_login(editor, backend="django.contrib.auth.backends.ModelBackend")
    voting = [_milliseconds(client, f"/compare/{comparison.pk}/vote/") for _ in range(20)]
    return [
        _row(f"{ballots:,} votes: nothing changed", same),
        _row(f"{ballots:,} votes: one vote changed", voted),
        _row("the voting page", voting),
    ]


def _milliseconds(client: Any, path: str) -> float:
    """Return the time of one request."""
    began = time.perf_counter()
    assert client.get(path).status_code == 200
    return (time.perf_counter() - began) * 1000


def _comparison(user: Any) -> Any:
    """Start a comparison of ARMS versions on INPUTS inputs; nothing runs its trials."""
    from promptops.compare.actions import comparisons
    from promptops.engine.types import PromptOperation
    from promptops.ledger.audit import Actor
    from promptops.live import snapshots as live
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template
    from promptops.providers.actions.chain import ProviderFields, create_provider

    by = Actor.person(user)
    template = create_template("verdicts", "enhance", by=by)
    provider = create_provider(ProviderFields("loopback", "openai", "m", "http://127.0.0.1:1/v1"), by=by)
    versions = []
    for number in range(ARMS):
        template.refresh_from_db()
        versions.append(publish(template, Content(f"Text {number}"), by=by, expected=template.live_version_id))
    return comparisons.start(
        "Large",
        PromptOperation.ENHANCE,
        [f"a fox, number {number}" for number in range(INPUTS)],
        [comparisons.ArmChoice(template, version, Content(**version.content), provider) for version in versions],
        by=by,
        snapshot=live.load(),
        inputs_from="Bench",
        repeats=REPEATS,
    )


def _answer(comparison: Any) -> None:
    """Every trial with a run of about 100 words, measured."""
    from django.utils import timezone

    from promptops.compare.models import Trial
    from promptops.runs.models import Attempt, Run

    chance = random.Random(1)
    trials = list(comparison.trials.all())
    common = {"source": "comparison", "operation": "enhance", "temperature": 0.7, "max_tokens": 256, "revision": 1}
    runs = Run.objects.bulk_create(
        [
            Run(
                output=f"answer {trial.pk} " + "word " * 100,
                status="succeeded",
                latency_ms=chance.lognormvariate(6, 0.4),
                cost=0.0001,
                **common,
            )
            for trial in trials
        ],
        batch_size=500,
    )
    Attempt.objects.bulk_create(
        [
            Attempt(
                run=run,
                position=1,
                provider="loopback",
                outcome="succeeded",
                started_ms=0,
                latency_ms=run.latency_ms,
                input_tokens=30,
                output_tokens=100,
                finish_reason="stop",
            )
            for run in runs
        ],
        batch_size=500,
    )
    for trial, run in zip(trials, runs, strict=True):
        trial.run, trial.state, trial.finished_at = run, "succeeded", timezone.now()
        trial.answer_hash = run.answer_hash
        trial.words, trial.characters, trial.subject_kept, trial.repetition = 102, 510, chance.random(), 0.1
    fields = ["run", "state", "finished_at", "answer_hash", "words", "characters", "subject_kept", "repetition"]
    Trial.objects.bulk_update(trials, fields, batch_size=100)


def _vote(comparison: Any, user: Any) -> int:
    """Three voters on all pairs of answers. Returns how many votes."""
    from itertools import combinations

    from promptops.compare.models import Vote
    from promptops.people.models import User

    chance = random.Random(2)
    voters = [user, *(User.objects.create(username=f"voter{number}", name="V") for number in range(VOTERS - 1))]
    arms, choices = list(comparison.arms.all()), ("first", "second", "tie", "neither")
    votes = [
        Vote(
            comparison=comparison,
            input=given,
            repeat=repeat,
            first=first,
            second=second,
            user=voter,
            user_name=voter.name,
            choice=chance.choices(choices, (30, 45, 20, 5))[0],
            first_on_left=chance.random() < 0.5,
        )
        for given in comparison.inputs.all()
        for repeat in range(REPEATS)
        for first, second in combinations(arms, 2)
        for voter in voters
    ]
    return len(Vote.objects.bulk_create(votes, batch_size=500))


def _row(what: str, taken: list[float]) -> dict[str, Any]:
    return {"what": what, "p50_ms": round(statistics.median(taken), 1), "max_ms": round(max(taken), 1)}
