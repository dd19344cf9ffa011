"""Audit entries for pages: filters, search, and the values before and after. The check of the chain is in `ledger`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from string import Formatter
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from promptops.ledger import audit, registry
from promptops.ledger.models import AuditEntry, audit_triggers
from promptops.people.models import User
from promptops.platform.narrowing import Narrowed, by_column

TEXT_CHARACTERS = 160
"""A value that is longer or has several lines is shown as a difference of texts."""
TYPED = ("object_name", "actor_name", "note", "address")
"""The fields with typed text or an address, which a search reads."""
CLOCK_SLACK = 10_000
"""Numbers follow time, except after a clock was set back. A filter by time reads this many more numbers, not all."""


@dataclass(frozen=True)
class AuditFilters:
    """The filters of the list. None and "" do not filter."""

    actor: User | None = None
    system: str = ""  # the name of an actor that is not a person
    actions: tuple[str, ...] = ()
    object_type: str = ""
    object_name: str = ""  # a part of it
    words: tuple[str, ...] = ()  # each must be in the sentence, the note or the address
    start: datetime | None = None
    end: datetime | None = None  # exclusive

    @property
    def is_search(self) -> bool:
        """Return whether the filters read texts, for which there is no index."""
        return bool(self.object_name or self.words)


@dataclass(frozen=True)
class Value:
    """A value before and after, as text."""

    label: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Return whether the value changed."""
        return self.before != self.after


@dataclass(frozen=True)
class EntryPage:
    """An entry with its neighbors in the chain, and its values before and after."""

    entry: AuditEntry
    previous: AuditEntry | None
    next: AuditEntry | None
    values: list[Value] = field(default_factory=list)
    texts: list[Value] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Return whether the entry's hash matches its content, and its previous hash matches the entry before."""
        expected = self.previous.sha256 if self.previous else audit.GENESIS
        fits = self.entry.sha256 == audit.entry_sha256(self.entry)
        return fits and self.entry.previous_sha256 == expected and (self.previous is not None or self.entry.seq == 1)

    @property
    def object_url(self) -> str:
        """Return the address of the page that shows the object; "" if there is no such page."""
        return registry.object_url(self.entry)

    @property
    def comparison(self) -> int | None:
        """Return the id of the comparison that was the reason, or None."""
        pk = self.entry.after.get("comparison") if isinstance(self.entry.after, dict) else None
        return pk if isinstance(pk, int) else None


def narrowed(filters: AuditFilters) -> Narrowed[AuditEntry]:
    """Return the entries that match filters without a search, to read by pages."""
    entries = AuditEntry.objects.all()
    chosen = []
    if filters.actor:
        chosen.append(by_column(entries, "actor_id", filters.actor.pk))
    if filters.system:
        nobody = entries.filter(actor=None)
        chosen.append(by_column(nobody, "actor_name", filters.system))
        entries = entries.filter(actor=None)
    if filters.actions:
        chosen.append(by_column(AuditEntry.objects.all(), "action", *filters.actions))
    if filters.object_type:
        chosen.append(by_column(AuditEntry.objects.all(), "object_type", filters.object_type))
    times = (("gte", filters.start), ("lt", filters.end))
    return Narrowed(entries, tuple(chosen), tuple((lookup, moment) for lookup, moment in times if moment))


def listed(filters: AuditFilters) -> QuerySet[AuditEntry]:
    """Return the entries that match the filters, for exports and searches."""
    entries = AuditEntry.objects.all()
    if filters.actor:
        entries = entries.filter(actor=filters.actor)
    if filters.system:
        entries = entries.filter(actor=None, actor_name=filters.system)
    if filters.actions:
        entries = entries.filter(action__in=filters.actions)
    if filters.object_type:
        entries = entries.filter(object_type=filters.object_type)
    if filters.object_name:
        entries = entries.filter(object_name__icontains=filters.object_name)
    for word in filters.words:
        entries = entries.filter(_contains(word))
    if filters.start:
        first = AuditEntry.objects.filter(at__gte=filters.start).order_by("at").values_list("seq", flat=True).first()
        entries = (
            entries.filter(at__gte=filters.start, seq__gte=(first or 0) - CLOCK_SLACK) if first else entries.none()
        )
    if filters.end:
        last = AuditEntry.objects.filter(at__lt=filters.end).order_by("-at").values_list("seq", flat=True).first()
        entries = entries.filter(at__lt=filters.end, seq__lte=(last or 0) + CLOCK_SLACK) if last else entries.none()
    return entries


def unprotected() -> list[str]:
    """Return the names of missing triggers that protect the audit in the database."""
    return audit_triggers.missing(connection)


def newest() -> int:
    """Return the number of the newest entry; 0 if there are no entries."""
    return AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


def _contains(word: str) -> Q:
    """Return the condition that an entry has the word in a typed text, its address, or its sentence's fixed words.

    Of the values in a sentence, only numbers are searched ("v12"): each further value doubles the time of a search.
    """
    wanted = word.casefold()
    condition = Q()
    for name in TYPED:
        condition |= Q(**{f"{name}__icontains": word})
    actions = []
    numbers: dict[tuple[str, str], list[str]] = {}
    for action in registry.actions():
        texts = [action.name]
        for text, value, *_ in Formatter().parse(action.sentence):
            texts.append(text)
            side, _, key = (value or "").rstrip("]").partition("[")
            number = wanted.removeprefix(text.split(" ")[-1].casefold())  # "12" of "v12", if the text ends with "v"
            if key and number.isdecimal():
                numbers.setdefault((f"{side}__{key}__icontains", number), []).append(action.name)
        if any(wanted in text.casefold() for text in texts):
            actions.append(action.name)
    if actions:
        condition |= Q(action__in=actions)
    for (lookup, number), names in numbers.items():
        condition |= Q(action__in=names) & Q(**{lookup: number})
    return condition


def entry_page(seq: int) -> EntryPage:
    """Return one entry for its page. Raises AuditEntry.DoesNotExist."""
    around = {entry.seq: entry for entry in AuditEntry.objects.filter(seq__in=[seq - 1, seq, seq + 1])}
    if seq not in around:
        raise AuditEntry.DoesNotExist
    entry = around[seq]
    values, texts = changes(entry)
    return EntryPage(entry, around.get(seq - 1), around.get(seq + 1), values, texts)


def changes(entry: AuditEntry) -> tuple[list[Value], list[Value]]:
    """Return the values before and after that are not empty: short ones, changed ones first, and texts."""
    before, after = (side if isinstance(side, dict) else {} for side in (entry.before, entry.after))
    values, texts = [], []
    for name in dict.fromkeys([*after, *before]):
        if name == "sha256":
            continue  # derived from the text and the settings, which are all shown
        sides = before.get(name), after.get(name)
        if any(_is_text(name, side) for side in sides):
            texts.append(Value(registry.value_label(name), *(side if isinstance(side, str) else "" for side in sides)))
        elif any(side not in (None, "") for side in sides):
            values.append(
                Value(registry.value_label(name), *(_words(registry.shown_value(name, side)) for side in sides))
            )
    return sorted(values, key=lambda value: not value.changed), texts


def _is_text(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name == "body" or "\n" in value or len(value) > TEXT_CHARACTERS)


def _words(value: Any) -> str:
    """Return the value as text; a dash for None and ""."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(str(item) for item in value) or "–"
    return str(value)
