"""The search on the Prompts page: exact words in templates, notes and all texts of versions, ignoring case."""

import re
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Count, F, Q, Window
from django.db.models.functions import RowNumber

from promptops.people.models import User
from promptops.prompts.content import long_fields, texts
from promptops.prompts.models import Draft, Template, Version

MAX_HITS = 50
"""The page shows at most this many of each: versions, drafts, templates."""

HITS_OF_A_TEMPLATE = 5
"""The page shows this many of the newest versions of one template, and counts the others."""

BEFORE, AFTER = 60, 100
"""Characters of context around a match."""


@dataclass(frozen=True)
class Passage:
    """A match with the text before and after it."""

    before: str
    match: str
    after: str


@dataclass(frozen=True)
class Hit:
    """A version (None: the reader's own draft) that contains the words in its note, in a text, or in both.

    `passages` has the first match in each text, by the label of the text ("" for the system prompt). `times` counts
    the matches in all texts.
    """

    version: Version | None
    note: Passage | None
    passages: list[tuple[str, Passage]]
    times: int


@dataclass
class Group:
    """The results of one template. `more` is the number of older versions that also contain the words."""

    template: Template
    name: Passage | None = None
    description: Passage | None = None
    hits: list[Hit] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True)
class Results:
    """All results for `text`. `is_cut`: there are more than the page shows."""

    text: str
    groups: list[Group]
    is_cut: bool

    @property
    def hits(self) -> int:
        return sum(len(group.hits) + group.more for group in self.groups)


def search(text: str, user: User) -> Results:
    """Search templates, the notes and texts of versions, and this person's drafts for `text`, in four queries.

    A template matches by its name, its operation or its description.
    Archived templates are included. Other people's drafts are private and are not.
    """
    groups: dict[int, Group] = {}

    def group(template: Template) -> Group:
        return groups.setdefault(template.pk, Group(template))

    matching = _contains("name", text) | _contains("operation", text) | _contains("description", text)
    templates = list(Template.objects.filter(matching)[: MAX_HITS + 1])
    for template in templates[:MAX_HITS]:
        results = group(template)
        results.name, results.description = passage(template.name, text), passage(template.description, text)
    drafts = list(Draft.objects.filter(_in_texts(text), user=user).select_related("template")[: MAX_HITS + 1])
    for draft in drafts[:MAX_HITS]:
        group(draft.template).hits.append(Hit(None, None, *_matches(draft, text)))
    numbers = _versions(text)
    versions = Version.objects.select_related("template").in_bulk([pk for pk, _ in numbers[:MAX_HITS]])
    for pk, count in numbers[:MAX_HITS]:
        version = versions[pk]
        results = group(version.template)
        results.hits.append(Hit(version, passage(version.note, text), *_matches(version, text)))
        results.more = count - sum(hit.version is not None for hit in results.hits)
    ordered = sorted(groups.values(), key=lambda each: (each.name is None, each.template.name))
    return Results(text, ordered, is_cut=any(len(rows) > MAX_HITS for rows in (templates, drafts, numbers)))


def passage(source: str, text: str) -> Passage | None:
    """Return the first match of `text` in `source` with its context, on one line; None without a match."""
    match = _pattern(text).search(source)
    if match is None:
        return None
    start, end = max(0, match.start() - BEFORE), min(len(source), match.end() + AFTER)
    before, after = source[start : match.start()], source[match.end() : end]
    if start:
        before = "…" + before[before.find(" ") + 1 :]
    if end < len(source):
        after = (after[: after.rfind(" ")] if " " in after else after) + "…"
    return Passage(*(re.sub(r"\s+", " ", part) for part in (before, match.group(), after)))


def _versions(text: str) -> list[tuple[int, int]]:
    """Return the newest matching versions of each template: id, and the number of matching versions of the template."""
    matching = Version.objects.filter(_in_texts(text) | _contains("note", text)).annotate(
        place=Window(RowNumber(), partition_by=F("template"), order_by=F("number").desc()),
        count=Window(Count("pk"), partition_by=F("template")),
    )
    newest = matching.filter(place__lte=HITS_OF_A_TEMPLATE).order_by("template_id", "-number")
    rows = list(newest.values_list("template_id", "pk", "count"))
    # Sorted here: PostgreSQL expects few matches, and would join each of many with all templates.
    names = dict(Template.objects.filter(pk__in={template for template, _, _ in rows}).values_list("pk", "name"))
    rows.sort(key=lambda row: names[row[0]])
    return [(pk, count) for _, pk, count in rows[: MAX_HITS + 1]]


def _matches(content: Version | Draft, text: str) -> tuple[list[tuple[str, Passage]], int]:
    """Return the first match in each text of the content, and the number of all matches."""
    sources = [("", content.body), *texts(content)]
    passages = [(label, match) for label, source in sources if (match := passage(source, text))]
    return passages, sum(_times(source, text) for _, source in sources)


def _in_texts(text: str) -> Q:
    """Return the condition that a text of the content contains the text."""
    condition = Q()
    for column in long_fields(""):
        condition |= _contains(column, text)
    return condition


def _contains(column: str, text: str) -> Q:
    """Return the condition that the column contains the text, ignoring case. % and _ have no special meaning."""
    if connection.vendor == "sqlite" and not text.isascii():
        return Q(**{f"{column}__iregex": re.escape(text)})  # SQLite's LIKE ignores the case of ASCII letters only
    return Q(**{f"{column}__icontains": text})


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text), re.IGNORECASE)


def _times(source: str, text: str) -> int:
    return sum(1 for _ in _pattern(text).finditer(source))
