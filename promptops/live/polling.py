"""What a process asks the database twice a second, in one statement, and what it asks after that has changed.

The statement opens no transaction. What a change leads to is in `live.snapshots` and in the tasks that it wakes.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, Func, JSONField, OuterRef, Subquery
from django.db.models.functions import JSONArray

from promptops.compare.enums import ComparisonState
from promptops.compare.models import Comparison
from promptops.ledger.models import AuditEntry, AuditHead, LiveConfiguration
from promptops.platform import events
from promptops.prompts.models import Draft, Presence
from promptops.providers.models import LearnedAdaptation
from promptops.runs.models import Run


@dataclass(frozen=True)
class Look:
    """What one look at the database found."""

    heads: dict[str, int]
    """The newest revision, audit entry and run, by event name: what an open page compares itself with."""
    presence: dict[int, frozenset[tuple[int, bool]]]
    """By template id: which of its editor's pages are open (their rows' ids), and whether the person has a draft."""
    learned: frozenset[int]
    """The rows of what runs learned of providers; no row ever changes."""
    is_comparing: bool
    """A comparison is running, so there may be trials to run."""


class _JSONRows(Func):
    """All rows of a query as one value: a list."""

    function = "jsonb_agg"
    output_field = JSONField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="json_group_array", **context)


def _head_values() -> tuple[str, Subquery, Subquery]:
    newest_entry = AuditHead.objects.filter(pk=1).values("seq")
    return "revision", Subquery(newest_entry), Subquery(Run.objects.order_by("-id").values("id")[:1])


def _heads(revision: int, entry: int | None, run: int | None) -> dict[str, int]:
    return {events.REVISION_RELEASED: revision, events.AUDIT_RECORDED: entry or 0, events.RUN_RECORDED: run or 0}


def heads() -> dict[str, int]:
    """Return the newest revision, audit entry and run, by event name."""
    return _heads(*LiveConfiguration.objects.values_list(*_head_values()).get(pk=1))


def look() -> Look:
    """Read in one statement all that a process watches."""
    draft = Draft.objects.filter(template=OuterRef("template"), user=OuterRef("user"))
    open_pages = Presence.current().values(rows=_JSONRows(JSONArray("template_id", "pk", Exists(draft))))
    learned = LearnedAdaptation.objects.order_by().values(rows=_JSONRows("pk"))
    running = Comparison.objects.filter(state=ComparisonState.RUNNING)
    *newest, pages, adaptations, is_comparing = LiveConfiguration.objects.values_list(
        *_head_values(), Subquery(open_pages), Subquery(learned), Exists(running)
    ).get(pk=1)
    presence: dict[int, set[tuple[int, bool]]] = {}
    for template, page, has_draft in pages or []:
        presence.setdefault(template, set()).add((page, bool(has_draft)))
    return Look(
        heads=_heads(*newest),
        presence={template: frozenset(of_template) for template, of_template in presence.items()},
        learned=frozenset(adaptations or []),
        is_comparing=is_comparing,
    )


SIGN_INS_CHANGED = ("user.role_changed", "user.deactivated", "user.password_changed", "user.session_ended")


def people_changed(since: int) -> list[int]:
    """Return the ids of the people whose role, password or sessions changed after that audit entry."""
    entries = AuditEntry.objects.filter(seq__gt=since, action__in=SIGN_INS_CHANGED)
    return [int(pk) for pk in entries.values_list("object_id", flat=True).distinct().order_by()]


def cooldowns_ended(since: int) -> list[tuple[str, int]]:
    """Return provider and audit entry of each cooldown that somebody ended after that audit entry."""
    entries = AuditEntry.objects.filter(seq__gt=since, action="provider.cooldown_ended")
    return list(entries.order_by("seq").values_list("object_name", "seq"))
