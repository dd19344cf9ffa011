"""The forecast of enforcing: the effect it would have had on the newest runs, by their recorded verdicts.

No text is judged again here; replay.py does that.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.utils import timezone

from promptops.engine.safety.guard import UnjudgedCause, VerdictDecision
from promptops.runs.models import SafetyCheck
from promptops.runs.queries.outcomes import DOWN, HARMFUL, LANGUAGE, OUTCOMES, TOO_LONG
from promptops.runs.queries.runs import ALL_SOURCES
from promptops.safety.models import SafetySettings

RUNS = 1_000
WINDOW = timedelta(hours=24)


@dataclass(frozen=True)
class Forecast:
    """Counts of the judged runs by outcome; `since` and `until` are the times of the first and the last of them.

    `expected` counts those of the runs in an unknown language that are in an expected one. `main_language` is the
    language of at least half of the others. `earlier` counts runs that were judged before the last change of the
    filter.
    """

    runs: int
    counts: dict[str, int]
    expected: int = 0
    main_language: str = ""
    earlier: int = 0
    since: datetime | None = None
    until: datetime | None = None

    @property
    def unexpected(self) -> int:
        """The number of runs in an unknown language that is not expected."""
        return self.counts[LANGUAGE] - self.expected

    @property
    def queries(self) -> dict[str, str]:
        """For each outcome, the query of the Runs page that lists exactly its runs."""
        moments = {"since": self.since, "until": self.until}
        period = {name: moment.isoformat() for name, moment in moments.items() if moment}
        return {outcome: urlencode({"safety": outcome, "source": ALL_SOURCES, **period}) for outcome in OUTCOMES}


def forecast(
    config: SafetySettings, expected_languages: Collection[str] | None = (), now: datetime | None = None
) -> Forecast:
    """Count the runs of the last 24 hours (at most the newest 1,000 judged) by outcome if enforced. One query.

    A run is in an expected language if each of its texts in an unknown language is.
    """
    now = now or timezone.now()
    names = ("run_id", "decision", "cause", "language", "run__at", "run__revision")
    checks = SafetyCheck.objects.filter(at__gte=now - WINDOW, at__lte=now).order_by("-at")
    outcomes: dict[int, str] = {}
    languages: dict[int, str] = {}
    unexpected: set[int] = set()
    earlier: set[int] = set()
    moments: list[datetime] = []
    for run_id, decision, cause, language, at, revision in checks.values_list(*names)[: 2 * RUNS]:
        if run_id not in outcomes and len(outcomes) == RUNS:
            break
        outcome = _outcome(decision, cause)
        outcomes[run_id] = min(outcomes.get(run_id, ""), outcome, key=_rank)
        if outcome == LANGUAGE:
            languages.setdefault(run_id, language)
            if language not in (expected_languages or ()):
                unexpected.add(run_id)
        if revision < config.changed_revision:
            earlier.add(run_id)
        moments.append(at)
    counts = Counter(outcomes.values())
    others = [run_id for run_id, outcome in outcomes.items() if outcome == LANGUAGE and run_id in unexpected]
    named = Counter(languages[run_id] for run_id in others)
    language, count = named.most_common(1)[0] if named else ("", 0)
    return Forecast(
        runs=len(outcomes),
        counts={outcome: counts[outcome] for outcome in OUTCOMES},
        expected=counts[LANGUAGE] - len(others),
        main_language=language if count * 2 >= len(others) else "",
        earlier=len(earlier),
        since=min(moments, default=None),
        until=max(moments, default=None),
    )


def _outcome(decision: str, cause: str) -> str:
    """Return the outcome of a verdict for its run; "" if it passes."""
    if decision == VerdictDecision.UNAVAILABLE:
        return LANGUAGE if cause == UnjudgedCause.LANGUAGE else DOWN
    return {VerdictDecision.BLOCK.value: HARMFUL, VerdictDecision.TOO_LONG.value: TOO_LONG}.get(decision, "")


def _rank(outcome: str) -> int:
    return OUTCOMES.index(outcome) if outcome else len(OUTCOMES)
