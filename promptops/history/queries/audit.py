"""The audit as pages show it."""

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

# A value that is longer, or has more than one line, is shown as a text with its differences.
TEXT_CHARACTERS = 160
# What people typed and where they were, as a search looks through it.
TYPED = ("object_name", "actor_name", "note", "address")
# Entries are numbered in the order of time but where a clock was set back. A filter by time looks so many numbers
# further, so that it need not read all entries.
CLOCK_SLACK = 10_000


@dataclass(frozen=True)
class AuditFilters:
    """What the list is narrowed to; None and "" are no limit."""

    actor: User | None = None
    system: str = ""  # the name of an actor that is no person
    actions: tuple[str, ...] = ()
    object_type: str = ""
    object_name: str = ""  # a part of it
    words: tuple[str, ...] = ()  # parts of the words of the sentence, the note or the address; each must be there
    start: datetime | None = None
    end: datetime | None = None  # exclusive

    @property
    def search(self) -> bool:
        """Whether texts are looked through, which no index helps."""
        return bool(self.object_name or self.words)


@dataclass(frozen=True)
class Value:
    """One field before and after, in words."""

    label: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class EntryPage:
    """One entry with its neighbors in the chain, and what it says about before and after."""

    entry: AuditEntry
    previous: AuditEntry | None
    next: AuditEntry | None
    values: list[Value] = field(default_factory=list)
    texts: list[Value] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether the entry's own hash fits it, and the hash that it names is the one of the entry before."""
        expected = self.previous.sha256 if self.previous else audit.GENESIS
        fits = self.entry.sha256 == audit.entry_sha256(self.entry)
        return fits and self.entry.previous_sha256 == expected and (self.previous is not None or self.entry.seq == 1)

    @property
    def object_url(self) -> str:
        """The page of what was changed; "" where there is none."""
        return registry.object_url(self.entry)

    @property
    def comparison(self) -> int | None:
        """The comparison that was the reason, if one was."""
        pk = self.entry.after.get("comparison") if isinstance(self.entry.after, dict) else None
        return pk if isinstance(pk, int) else None


def listed(filters: AuditFilters) -> QuerySet[AuditEntry]:
    """The entries that match."""
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
        entries = entries.filter(_says(word))
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
    """The names of the triggers that should keep the database from changing the audit, and are missing."""
    return audit_triggers.missing(connection)


def newest() -> int:
    """The number of the newest entry; 0 when there is none."""
    return AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


def _says(word: str) -> Q:
    """Entries that hold the word in what people typed, in the address, or in the fixed words of the action's sentence.

    Of the values in a sentence only numbers are looked for ("v12"): each value costs a search as much as the rest.
    """
    wanted = word.casefold()
    said = Q()
    for name in TYPED:
        said |= Q(**{f"{name}__icontains": word})
    actions = []
    numbers: dict[tuple[str, str], list[str]] = {}
    for action in registry.actions():
        texts = [action.name]
        for text, value, *_ in Formatter().parse(action.sentence):
            texts.append(text)
            side, _, key = (value or "").rstrip("]").partition("[")
            number = wanted.removeprefix(text.split(" ")[-1].casefold())  # of "v12" what follows the "v" of the text
            if key and number.isdecimal():
                numbers.setdefault((f"{side}__{key}__icontains", number), []).append(action.name)
        if any(wanted in text.casefold() for text in texts):
            actions.append(action.name)
    if actions:
        said |= Q(action__in=actions)
    for (lookup, number), having in numbers.items():
        said |= Q(action__in=having) & Q(**{lookup: number})
    return said


def found(seq: int) -> EntryPage:
    """One entry, or AuditEntry.DoesNotExist."""
    around = {entry.seq: entry for entry in AuditEntry.objects.filter(seq__in=[seq - 1, seq, seq + 1])}
    if seq not in around:
        raise AuditEntry.DoesNotExist
    entry = around[seq]
    values, texts = changes(entry)
    return EntryPage(entry, around.get(seq - 1), around.get(seq + 1), values, texts)


def changes(entry: AuditEntry) -> tuple[list[Value], list[Value]]:
    """The fields of before and after that hold something: short values, the changed ones first, and texts."""
    before, after = (side if isinstance(side, dict) else {} for side in (entry.before, entry.after))
    values, texts = [], []
    for name in dict.fromkeys([*after, *before]):
        if name == "sha256":
            continue  # says no more than the text and the settings do, which are all here
        sides = before.get(name), after.get(name)
        if any(_is_text(name, side) for side in sides):
            texts.append(Value(registry.value_label(name), *(side if isinstance(side, str) else "" for side in sides)))
        elif any(side not in (None, "") for side in sides):
            values.append(Value(registry.value_label(name), *(_words(side) for side in sides)))
    return sorted(values, key=lambda value: not value.changed), texts


def _is_text(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name == "body" or "\n" in value or len(value) > TEXT_CHARACTERS)


def _words(value: Any) -> str:
    """A value as people read it; nothing (None or "") is a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(str(item) for item in value) or "–"
    return str(value)
