"""Runs of some months with their attempts and the safety filter's verdicts.

Of a hundred runs, 7 fall back, 2 fail, 2 are canceled and 1 is blocked; 33 are checked by a contract. Of a hundred
texts, 3 are found harmful, 4 come close to it, and 2 are not judged. Most of the older verdicts that wanted a review
have one.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from benchmarks.big.releases import WORDS, Published

REMOVED = "fireworks"
"""A provider that the oldest third of the runs called, and that is no longer there."""

RUN_COLUMNS = (
    "id",
    "at",
    "source",
    "operation",
    "user_id",
    "template_id",
    "version_id",
    "temperature",
    "max_tokens",
    "revision",
    "input",
    "output",
    "status",
    "error",
    "provider",
    "model",
    "fallback_used",
    "latency_ms",
    "cost",
    "drill",
    "erased_at",
    "input_masked",
    "output_masked",
    "contract",
    "public_id",
)
ATTEMPT_COLUMNS = (
    "run_id",
    "position",
    "provider",
    "model",
    "outcome",
    "error_kind",
    "message",
    "started_ms",
    "first_text_ms",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost",
    "finish_reason",
)
CHECK_COLUMNS = (
    "run_id",
    "side",
    "decision",
    "layer",
    "category",
    "scores",
    "score",
    "cause",
    "language",
    "model_id",
    "mode",
    "blocked",
    "at",
    "queue",
    "review",
    "reviewed_at",
    "reviewed_by_id",
    "reported_at",
    "reported_by_id",
    "report_note",
)
CATEGORIES = ("sexual", "violence", "hate", "self_harm", "dangerous", "other")
LANGUAGES = ("Chinese", "Spanish", "Arabic", "Hindi", "")


@dataclass(frozen=True)
class World:
    """The rows to which the runs refer."""

    templates: list[Any]
    published: Published
    people: list[Any]
    providers: list[Any]
    model_id: int
    began: datetime
    ended: datetime
    erased_before: datetime


def runs(count: int, world: World) -> Iterator[tuple[Any, ...]]:
    """Return `count` runs in RUN_COLUMNS, oldest first."""
    dice = random.Random(17)
    popular = [1 / place for place in range(1, len(world.templates) + 1)]
    chosen = dice.choices(world.templates, popular, k=count)
    step = (world.ended - world.began) / count
    for number, template in enumerate(chosen, start=1):
        at = world.began + number * step
        chance = dice.random()
        status = (
            "succeeded" if chance > 0.05 else "failed" if chance > 0.03 else "canceled" if chance > 0.01 else "blocked"
        )
        erased = world.erased_before if at < world.erased_before else None
        source = dice.choices(("preview", "test", "comparison", "api"), (50, 4, 6, 40))[0]
        person = None if dice.random() < 0.1 else dice.choice(world.people)
        changes = world.published.live[template.pk]
        live = changes[max(0, bisect_right(changes, at, key=lambda change: change[0]) - 1)][1]
        provider, falls_back = _provider(number, count, world, dice)
        answered = status == "succeeded"
        masked = dice.random() < 0.03
        words = dice.choices(WORDS, k=70)
        yield (
            number,
            at,
            source,
            template.operation,
            person.pk if person else None,
            template.pk,
            live,
            0.7,
            256,
            bisect_right(world.published.revised, at),
            "" if erased else " ".join(words[:20]),
            "" if erased or not answered else " ".join(words[10:]),
            status,
            "" if erased or status != "failed" else f"{provider} answered 503",
            provider if answered else "",
            "llama-3.3-70b" if answered else "",
            falls_back and answered,
            round(dice.lognormvariate(6.2, 0.5), 1),
            0.00012 if answered else None,
            "overloaded at first" if dice.random() < 0.003 else "",
            erased,
            masked,
            masked and answered,
            _outcome(status, dice),
            UUID(int=dice.getrandbits(128), version=4) if source == "api" else None,
        )


def _outcome(status: str, dice: random.Random) -> str | None:
    """Return how the run met its contract. The answers of a third of the runs are checked."""
    if status not in ("succeeded", "failed") or dice.random() < 0.67:
        return None
    return "breached" if status == "failed" else dice.choices(("at_once", "fell_back", "repaired"), (92, 5, 3))[0]


def _provider(number: int, count: int, world: World, dice: random.Random) -> tuple[str, bool]:
    """Return the provider that answered, and whether it was a fallback."""
    if number < count / 3 and dice.random() < 0.02:
        return REMOVED, True
    falls_back = dice.random() < 0.07
    return dice.choice(world.providers[1:]).name if falls_back else world.providers[0].name, falls_back


def attempts(made: Iterator[tuple[Any, ...]], world: World) -> Iterator[tuple[Any, ...]]:
    """Return the attempts of these runs in ATTEMPT_COLUMNS."""
    dice = random.Random(19)
    first = world.providers[0].name
    for row in made:
        run = dict(zip(RUN_COLUMNS, row, strict=True))
        if run["status"] == "blocked":
            continue
        position, latency = 1, run["latency_ms"]
        failed = ("failed", "overloaded", "" if run["erased_at"] else f"{first} answered 503")
        if run["fallback_used"]:
            yield (run["id"], 1, first, "llama-3.3-70b", *failed, 0.0, None, latency / 3, None, None, None, "")
            position, latency = 2, latency * 2 / 3
        outcome = (run["status"], "", "") if run["status"] != "failed" else failed
        tokens = (120, dice.randrange(20, 200), run["cost"], "stop") if run["provider"] else (None, None, None, "")
        started = run["latency_ms"] - latency
        name = run["provider"] or first
        yield (run["id"], position, name, "llama-3.3-70b", *outcome, started, latency / 4, latency, *tokens)


def checks(made: Iterator[tuple[Any, ...]], world: World) -> Iterator[tuple[Any, ...]]:
    """Return the verdicts on both texts of these runs, in CHECK_COLUMNS."""
    dice = random.Random(23)
    half = world.began + (world.ended - world.began) * 0.9
    for row in made:
        run = dict(zip(RUN_COLUMNS, row, strict=True))
        for side in ("input", "output"):
            yield _check(run, side, run["at"] < half, world, dice)


def _check(run: dict[str, Any], side: str, is_older: bool, world: World, dice: random.Random) -> tuple[Any, ...]:
    chance = dice.random()
    harmful = run[f"{side}_masked"] or run["status"] == "blocked"
    decision, layer, category, cause, language, score, queue = "allow", "model", "", "", "", dice.random() * 0.7, ""
    if harmful:
        decision, category, score, queue = "block", dice.choice(CATEGORIES), 1 + dice.random() / 4, "blocked"
        layer = "deny_terms" if chance < 0.1 else "model"
    elif chance < 0.02:
        decision, layer, cause = "unavailable", "", "language" if chance < 0.015 else "down"
        language = dice.choice(LANGUAGES) if cause == "language" else ""
    elif chance < 0.021:
        decision, layer = "too_long", "size"
    elif chance < 0.06:
        score, queue = 0.75 + dice.random() / 4.1, "borderline"
    elif chance < 0.063:
        queue = "reported"
    judged = layer == "model"
    scores = {name: round(dice.random() * 0.4, 4) for name in CATEGORIES} if judged else {}
    if judged:
        scores[category or "violence"] = round(score * 0.75, 4)
    review = dice.choice(("right", "wrong")) if queue and is_older and dice.random() < 0.7 else ""
    reviewer, reporter = (dice.choice(world.people).pk if mark else None for mark in (review, queue == "reported"))
    return (
        run["id"],
        side,
        decision,
        layer,
        category,
        scores,
        score if judged else None,
        cause,
        language,
        world.model_id,
        "enforce" if run["status"] == "blocked" else "shadow",
        run["status"] == "blocked" and side == "input",
        run["at"],
        queue,
        review,
        run["at"] if review else None,
        reviewer,
        run["at"] if reporter else None,
        reporter,
        "" if run["erased_at"] or not reporter else "A viewer complained.",
    )
