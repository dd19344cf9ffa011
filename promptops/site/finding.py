"""Find things for the command bar by name or number: templates, versions, runs, providers, people and so on.

Each kind takes one statement, however many rows there are. Pages and settings belong to `views.commands`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Model, Q, QuerySet, Value, When
from django.urls import reverse

from promptops.compare.models import Comparison, PromptSet
from promptops.fleet.models import Server
from promptops.ledger.models import Release
from promptops.people.models import User
from promptops.prompts.models import Operation, Template, Variable, Version
from promptops.providers.models import Provider
from promptops.runs.models import Run
from promptops.texts.numbers import whole_number

MOST = 20
"""Entries of one kind in an answer."""

MOST_WORDS, MOST_CHARACTERS = 6, 60

MayOpen = Callable[[str], bool]


@dataclass(frozen=True)
class Found:
    """An entry of the command bar. `words` are found, too, but not shown."""

    id: str
    label: str
    hint: str
    url: str
    words: str = ""
    key: str = ""


@dataclass(frozen=True)
class Kind:
    """Things that are found by name. `fields`: the name, where letters may be missing, then others, by whole word."""

    name: str
    page: str  # the name of the URL
    rows: Callable[[], QuerySet[Any]]
    fields: tuple[str, ...]
    entry: Callable[[Any], tuple[str, str, list[Any]]]
    """Label, hint and arguments of the URL."""
    index: str = ""
    """The page of all rows, for people who may not open that of one; "": they do not find the rows."""

    def find(self, words: list[str], recent: list[int], *, may_open: MayOpen) -> list[Found]:
        """Return at most MOST + 1 entries that have all words; without words, the `recent` rows first."""
        if not (may_open(self.page) or self.index):
            return []
        rows = self.rows()
        for word in words:
            rows = rows.filter(_has(word, self.fields))
        first = _is_named(words[0], self.fields[0]) if words else [When(pk__in=recent, then=Value(0))]
        if words or recent:
            rows = rows.order_by(Case(*first, default=Value(9)), *rows.query.order_by)
        return [self._found(row, may_open) for row in rows[: MOST + 1]]

    def _found(self, row: Model, may_open: MayOpen) -> Found:
        label, hint, arguments = self.entry(row)
        others = " ".join(str(getattr(row, field)) for field in self.fields[1:])
        url = reverse(self.page, args=arguments) if may_open(self.page) else reverse(self.index)
        return Found(f"{self.name}:{row.pk}", label, hint, url, others)


def _has(word: str, fields: Iterable[str]) -> Q:
    """Return the condition that the first field has the letters of `word` in this order, or another one the word."""
    name, *others = fields
    # Each step passes over other letters only, so that no text makes the search slow.
    pattern = "".join(f"[^{re.escape(letter)}]*{re.escape(letter)}" for letter in word)
    condition = Q(**{f"{name}__iregex": pattern})
    for field in others:
        condition |= Q(**{f"{field}__icontains": word})
    return condition


def _is_named(word: str, field: str) -> list[When]:
    return [
        When(**{f"{field}__istartswith": word}, then=Value(0)),
        When(**{f"{field}__icontains": word}, then=Value(1)),
    ]


KINDS = (
    Kind(
        "template",
        "template",
        lambda: (
            Template.objects.filter(archived_at=None)
            .only("name", "operation")
            .order_by("-is_default", "operation", "name")
        ),
        fields=("name", "operation"),
        entry=lambda row: (row.name, row.operation, [row.name]),
    ),
    Kind(
        "provider",
        "provider",
        lambda: Provider.objects.only("name", "model").order_by("position", "name"),
        fields=("name", "model"),
        entry=lambda row: (row.name, "Provider", [row.pk]),
        index="providers",
    ),
    Kind(
        "comparison",
        "comparison",
        lambda: Comparison.objects.only("name").order_by("-id"),
        fields=("name",),
        entry=lambda row: (row.name, "Comparison", [row.pk]),
    ),
    Kind(
        "prompt_set",
        "prompt_set",
        lambda: PromptSet.objects.filter(archived_at=None).only("name").order_by("name"),
        fields=("name",),
        entry=lambda row: (row.name, "Prompt set", [row.pk]),
    ),
    Kind(
        "operation",
        "operation",
        lambda: Operation.objects.filter(archived_at=None).only("name", "purpose").order_by("name"),
        fields=("name", "purpose"),
        entry=lambda row: (row.name, "Operation", [row.name]),
        index="operations",
    ),
    Kind(
        "variable",
        "variable",
        lambda: Variable.objects.only("name").order_by("name"),
        fields=("name",),
        entry=lambda row: (row.name, "Variable", [row.pk]),
        index="variables",
    ),
    Kind(
        "server",
        "server",
        lambda: Server.objects.only("name").order_by("-heard_at"),
        fields=("name",),
        entry=lambda row: (row.name, "Server", [row.pk]),
    ),
    Kind(
        "person",
        "people_sessions",
        lambda: User.objects.only("name", "username").order_by("name"),
        fields=("name", "username"),
        entry=lambda row: (row.name, "Person", [row.pk]),
    ),
)


@dataclass(frozen=True)
class Numbered:
    """Things that are found by their number: the pages of versions, runs and revisions."""

    name: str
    page: str
    rows: Callable[[], QuerySet[Any]]
    matching: Callable[[list[str]], Q | None]
    """The condition for the typed words; None if they name no number."""
    entry: Callable[[Any], tuple[str, str, list[Any], str]]

    def find(self, words: list[str], recent: list[int], *, may_open: MayOpen) -> list[Found]:
        """Return the entries that the words name; without words, the `recent` ones."""
        if not may_open(self.page):
            return []
        condition = self.matching(words) if words else Q(pk__in=recent) if recent else None
        if condition is None:
            return []
        found = []
        for row in self.rows().filter(condition)[: MOST + 1]:
            label, hint, arguments, others = self.entry(row)
            found.append(Found(f"{self.name}:{row.pk}", label, hint, reverse(self.page, args=arguments), others))
        return found


def _version(words: list[str]) -> Q | None:
    """Read "enhance v12" or "enhance 12"; "v12" alone means the versions of all templates."""
    numbers = [(word, whole_number(word.lower().removeprefix("v"))) for word in words]
    chosen = [(word, number) for word, number in numbers if number is not None]
    if len(chosen) != 1 or (len(words) == 1 and words[0].isdecimal()):
        return None
    condition = Q(number=chosen[0][1])
    for word in words:
        if word != chosen[0][0]:
            condition &= _has(word, ("template__name", "template__operation"))
    return condition


def _one_number(words: list[str], pattern: str, field: str) -> Q | None:
    match = re.fullmatch(pattern, " ".join(words), re.IGNORECASE)
    number = whole_number(match[1]) if match else None
    return Q(**{field: number}) if number is not None else None


NUMBERED = (
    Numbered(
        "version",
        "version",
        lambda: (
            Version.objects.select_related("template")
            .only("number", "template__name", "template__operation")
            .order_by("-template__is_default", "template__name", "-number")
        ),
        _version,
        lambda row: (str(row), "Version", [row.template.name, row.number], row.template.operation),
    ),
    Numbered(
        "run",
        "run",
        lambda: Run.objects.only("operation"),
        lambda words: _one_number(words, r"(?:run )?#?(\d+)", "pk"),
        lambda row: (f"Run {row.pk}", row.operation, [row.pk], f"#{row.pk}"),
    ),
    Numbered(
        "revision",
        "revision",
        lambda: Release.objects.only("revision"),
        lambda words: _one_number(words, r"(?:revision |r)(\d+)", "revision"),
        lambda row: (f"Revision {row.revision}", "Release", [row.revision], f"r{row.revision}"),
    ),
)


def words_of(text: str) -> list[str]:
    """Return the words to search for, at most MOST_WORDS."""
    words = text[: MOST_WORDS * MOST_CHARACTERS].split()[:MOST_WORDS]
    return [word[:MOST_CHARACTERS] for word in words if word.isprintable()]


def find(words: list[str], recent: list[str], may_open: MayOpen) -> tuple[list[Found], bool]:
    """Return what fits, kind by kind, and whether there is more. `recent` are ids of entries.

    `may_open` says whether the person may open the page with this URL name.
    """
    used = dict(_recent_by_kind(recent))
    found: list[Found] = []
    more = False
    for kind in (*KINDS, *NUMBERED):
        entries = kind.find(words, used[kind.name], may_open=may_open)
        found += entries[:MOST]
        more = more or len(entries) > MOST
    return found, more


def _recent_by_kind(recent: list[str]) -> Iterator[tuple[str, list[int]]]:
    split = [entry.partition(":") for entry in recent[:MOST]]
    for kind in (*KINDS, *NUMBERED):
        numbers = [whole_number(number) for name, _, number in split if name == kind.name]
        yield kind.name, [number for number in numbers if number is not None]
