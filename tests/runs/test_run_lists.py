"""The list of runs by its indexes shows what reading every run would, on every page and in every mix of filters.

Also on PostgreSQL (tests/services/test_postgresql.py).
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict

from promptops.ledger.audit import Actor
from promptops.people.actions.tokens import make_token, revoke_token, rotate_token
from promptops.people.models import Token, User
from promptops.platform import narrowing
from promptops.platform.narrowing import Narrowed
from promptops.prompts.models import Template
from promptops.runs.forms import RunFilterForm
from promptops.runs.models import Attempt, Run, SafetyCheck
from promptops.runs.queries.runs import RunFilters, listed, shown
from tests.factories import build_run

pytestmark = pytest.mark.django_db
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
COUNT, PAGE = 150, 5
WORST = ("harmful", "too_long", "language", "down")


def outcome(run: Run) -> str:
    """Return the run's worst outcome, read from its verdicts one by one."""
    found = set()
    for check in run.safety_checks.all():
        if check.decision == "unavailable":
            found.add("language" if check.cause == "language" else "down")
        found.add({"block": "harmful", "too_long": "too_long"}.get(check.decision, ""))
    return next((each for each in WORST if each in found), "")


def calls(run: Run) -> set[str]:
    return {attempt.provider for attempt in run.attempts.all()}


def decisions(run: Run) -> set[str]:
    return {check.decision for check in run.safety_checks.all()}


# Filters by name, each with its meaning for one run.
MEANINGS: dict[str, tuple[dict[str, Any], Callable[[Run], bool]]] = {
    "nothing": ({}, lambda run: True),
    "operation": ({"operation": "rewrite"}, lambda run: run.operation == "rewrite"),
    "status": ({"status": "failed"}, lambda run: run.status == "failed"),
    "source": ({"source": "test"}, lambda run: run.source == "test"),
    "comparisons": ({"source": "comparison"}, lambda run: run.source == "comparison"),
    "all sources": ({"source": "all"}, lambda run: True),
    "template": ({"template": "rare"}, lambda run: run.template is not None and run.template.name == "rare"),
    "common template": ({"template": "common"}, lambda run: bool(run.template) and run.template.name == "common"),
    "person": ({"user": "ada"}, lambda run: run.user is not None),
    "token": ({"token": "worker"}, lambda run: run.token_id is not None and run.token.name == "worker"),
    "unused token": ({"token": "spare"}, lambda run: False),
    "revision": ({"revision": 2}, lambda run: run.revision == 2),
    "provider": ({"provider": "groq"}, lambda run: "groq" in calls(run)),
    "removed provider": ({"provider": "gone"}, lambda run: "gone" in calls(run)),
    "unknown provider": ({"provider": "never"}, lambda run: False),
    "contract": ({"contract": "breached"}, lambda run: run.contract == "breached"),
    "blocked": ({"safety": "blocked"}, lambda run: run.status == "blocked"),
    "masked": ({"safety": "masked"}, lambda run: run.input_masked or run.output_masked),
    "not judged": ({"safety": "not_judged"}, lambda run: bool(decisions(run) & {"unavailable", "too_long"})),
    **{each: ({"safety": each}, lambda run, each=each: outcome(run) == each) for each in WORST},
    "from": ({"start": BEGAN + timedelta(hours=100)}, lambda run: run.at >= BEGAN + timedelta(hours=100)),
    "to": ({"end": BEGAN + timedelta(hours=40)}, lambda run: run.at < BEGAN + timedelta(hours=40)),
    "since": ({"since": BEGAN + timedelta(hours=60)}, lambda run: run.at >= BEGAN + timedelta(hours=60)),
    "until": ({"until": BEGAN + timedelta(hours=90)}, lambda run: run.at <= BEGAN + timedelta(hours=90)),
    "before all": ({"end": BEGAN - timedelta(days=9)}, lambda run: False),
    "after all": ({"start": BEGAN + timedelta(days=900)}, lambda run: False),
}
MIXES = [
    *([name] for name in MEANINGS),
    ["status", "provider"],
    ["all sources", "template", "status"],
    ["comparisons", "common template", "from"],
    ["token", "status"],
    ["token", "provider", "from"],
    ["status", "blocked"],
    ["contract", "operation"],
    ["contract", "provider", "from"],
    ["blocked", "provider"],
    ["template", "operation", "status"],
    ["common template", "provider", "person"],
    ["removed provider", "common template"],
    ["harmful", "operation"],
    ["down", "source"],
    ["not judged", "status", "from"],
    ["masked", "to"],
    ["from", "to"],
    ["from", "since", "until", "to"],
    ["since", "until", "provider"],
    ["revision", "language"],
    ["unknown provider", "template"],
    ["person", "before all"],
]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs with all values, a third of them old ones of a removed provider, and one recorded late."""
    monkeypatch.setattr(narrowing, "PAGE_SIZE", PAGE)
    monkeypatch.setattr(narrowing, "MOST", 8)
    monkeypatch.setattr(narrowing, "SLACK", 4)
    monkeypatch.setattr(narrowing, "NEAR", 5)
    dice = random.Random(5)
    ada = User.objects.create(username="ada", name="Ada", role="editor")
    rare, common = (Template.objects.create(name=name, operation="enhance") for name in ("rare", "common"))
    by = Actor.person(ada)
    older, _ = make_token("worker", ["run"], by=by)
    tokens = [older, rotate_token(older, by=by)[0], make_token("other", ["run"], by=by)[0], None, None]
    make_token("spare", ["run"], by=by)
    late = {70: 68.5}
    made, attempts, checks = [], [], []
    for number in range(COUNT):
        run = build_run(
            at=BEGAN + timedelta(hours=late.get(number, number)),
            operation=dice.choice(("enhance", "enhance", "rewrite")),
            status=dice.choices(("succeeded", "failed", "blocked"), (80, 15, 5))[0],
            source="test" if number % 11 == 0 else "comparison" if number % 5 == 0 else "preview",
            template=dice.choice((rare, None, *[common] * 8)),
            token=tokens[number % 5],
            user=ada if dice.random() < 0.4 else None,
            revision=1 + number // 50,
            contract=dice.choice((None, "at_once", "at_once", "repaired", "breached")),
            input_masked=dice.random() < 0.1,
            output_masked=dice.random() < 0.1,
        )
        made.append(run)
        names = ["gone", "gone"] if number < COUNT / 3 else dice.choice((["cerebras"], ["cerebras", "groq"], []))
        for position, name in enumerate(names, start=1):
            fields = {"outcome": "failed", "started_ms": 0, "latency_ms": 1}
            attempts.append(Attempt(run=run, position=position, provider=name, **fields))
        for side in ("input", "output"):
            decision = dice.choices(("allow", "block", "unavailable", "too_long"), (80, 8, 8, 4))[0]
            cause = dice.choice(("language", "down", "other")) if decision == "unavailable" else ""
            checks.append(SafetyCheck(run=run, side=side, decision=decision, cause=cause, mode="shadow"))
    for rows in (made, attempts, checks):
        type(rows[0]).objects.bulk_create(rows)
    return list(
        Run.objects.prefetch_related("attempts", "safety_checks").select_related("template", "token").order_by("-pk")
    )


def matches(run: Run, names: list[str]) -> bool:
    """Return whether the list shows the run: those of comparisons only if a filter by source asks for them."""
    is_shown = run.source != "comparison" or any("source" in MEANINGS[name][0] for name in names)
    return is_shown and all(MEANINGS[name][1](run) for name in names)


def filters_of(names: list[str]) -> RunFilters:
    chosen: dict[str, Any] = {}
    for name in names:
        chosen |= MEANINGS[name][0]
    if "template" in chosen:
        chosen["template"] = Template.objects.get(name=chosen["template"])
    if "user" in chosen:
        chosen["user"] = User.objects.get(username=chosen["user"])
    return RunFilters(**chosen)


def test_all_pages_together_are_the_runs_that_match(runs: list[Run]) -> None:
    for names in MIXES:
        wanted = [run.pk for run in runs if matches(run, names)]
        found = listed(filters_of(names))
        assert downwards(found) == wanted, names
        assert upwards(found) == wanted[::-1], names


def downwards(found: Narrowed[Run]) -> list[int]:
    """Return the numbers on all pages from the newest to the oldest."""
    numbers: list[int] = []
    page = found.page()
    while True:
        assert len(page.rows) <= PAGE
        assert page.older is None or page.reached or len(page.rows) == PAGE
        numbers += [run.pk for run in page.rows]
        if page.older is None:
            return numbers
        page = found.page(before=page.older)


def upwards(found: Narrowed[Run]) -> list[int]:
    """Return the numbers on all pages from the oldest to the newest, which may show some rows for a second time."""
    numbers: dict[int, None] = {}
    after = 0
    while True:
        page = found.page(after=after)
        numbers |= dict.fromkeys(run.pk for run in page.rows[::-1])
        if page.newer is None:
            return list(numbers)
        assert page.newer > after
        after = page.newer


def test_the_news_of_an_open_page_are_the_newest_runs_that_match(runs: list[Run]) -> None:
    since = runs[6].pk
    for names in MIXES:
        wanted = [run.pk for run in runs if run.pk > since and matches(run, names)]
        assert sorted(run.pk for run in listed(filters_of(names)).since(since)) == sorted(wanted), names


def test_a_run_that_was_blocked_without_a_verdict_is_marked(runs: list[Run]) -> None:
    run = runs[0]
    run.safety_checks.update(blocked=True, decision="unavailable")
    assert [each.pk for each in shown(runs[:3]) if each.unjudged] == [run.pk]


def test_a_page_names_the_run_that_a_search_reached(client, runs: list[Run]) -> None:
    address = "/runs/?template=common&provider=gone&safety=masked"
    page = client.get(address).content.decode()
    assert "Searching" in page or "Searched back to run" in page


def test_the_list_offers_tokens_and_keeps_the_chosen_one_in_the_address(client, runs: list[Run], monkeypatch) -> None:
    make_token("reader", ["read"], by=Actor("Ada"))
    revoke_token(Token.objects.get(name="worker", replaces=None), by=Actor("Ada"))
    monkeypatch.setattr("promptops.runs.queries.runs.TOKENS_OFFERED", 2)
    offered = [name for name, _ in RunFilterForm(QueryDict()).fields["token"].choices]
    assert offered == ["", "other", "spare"]
    run = next(run for run in runs if run.token and run.token.name == "worker")
    Run.objects.filter(pk=run.pk).update(request_id="job-17")
    page = client.get(f"/runs/{run.pk}/").content.decode()
    assert "job-17" in page
    assert 'href="/runs/?token=worker"' in page
    listed_runs = client.get("/runs/?token=worker").content.decode()
    assert '<option value="worker" selected>' in listed_runs
    assert "by token worker" in listed_runs
    assert "by token other" not in listed_runs
