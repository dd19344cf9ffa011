"""Search over templates, notes and texts: exact passages, whatever their case, grouped by template and bounded."""

import re
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Count, F, Q, Window
from django.db.models.functions import RowNumber

from promptops.people.models import User
from promptops.prompts.models import Draft, Template, Version

MAX_HITS = 50
"""At most so many versions, drafts and templates of each are shown."""

HITS_OF_A_TEMPLATE = 5
"""The newest versions of one template that are shown; of the others only the number."""

BEFORE, AFTER = 60, 100
"""Characters of context around a match."""


@dataclass(frozen=True)
class Passage:
    """A match with what stands around it; `match` is "" where only the beginning of the text can be shown."""

    before: str
    match: str
    after: str


@dataclass(frozen=True)
class Hit:
    """A version (None: the reader's own draft) that holds the words, in its note, its text, or both."""

    version: Version | None
    note: Passage | None
    body: Passage | None
    times: int  # in the text


@dataclass
class Group:
    """What was found of one template. `more` is how many older versions hold the words, too."""

    template: Template
    name: Passage | None = None
    description: Passage | None = None
    hits: list[Hit] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True)
class Found:
    """All that was found of `text`; `cut` says that there is more than is shown."""

    text: str
    groups: list[Group]
    cut: bool

    @property
    def hits(self) -> int:
        return sum(len(group.hits) + group.more for group in self.groups)


def search(text: str, user: User) -> Found:
    """Where `text` stands, in four queries: names, descriptions, notes and texts of versions, this person's drafts.

    Archived templates count, too. Other people's drafts are theirs.
    """
    groups: dict[int, Group] = {}

    def group(template: Template) -> Group:
        return groups.setdefault(template.pk, Group(template))

    templates = list(Template.objects.filter(_holds("name", text) | _holds("description", text))[: MAX_HITS + 1])
    for template in templates[:MAX_HITS]:
        found = group(template)
        found.name, found.description = passage(template.name, text), passage(template.description, text)
    drafts = list(Draft.objects.filter(_holds("body", text), user=user).select_related("template")[: MAX_HITS + 1])
    for draft in drafts[:MAX_HITS]:
        group(draft.template).hits.append(Hit(None, None, passage(draft.body, text), _times(draft.body, text)))
    numbers = _versions(text)
    versions = Version.objects.select_related("template").in_bulk([pk for pk, _ in numbers[:MAX_HITS]])
    for pk, count in numbers[:MAX_HITS]:
        version = versions[pk]
        found = group(version.template)
        found.hits.append(
            Hit(version, passage(version.note, text), passage(version.body, text), _times(version.body, text))
        )
        found.more = count - sum(hit.version is not None for hit in found.hits)
    ordered = sorted(groups.values(), key=lambda each: (each.name is None, each.template.name))
    return Found(text, ordered, cut=any(len(rows) > MAX_HITS for rows in (templates, drafts, numbers)))


def passage(source: str, text: str) -> Passage | None:
    """The first place of `text` in `source`, on one line and with its surroundings; None where it is not."""
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
    """Of each template the newest versions that hold the text: id, and how many of its versions hold it in all."""
    found = Version.objects.filter(_holds("body", text) | _holds("note", text)).annotate(
        place=Window(RowNumber(), partition_by=F("template"), order_by=F("number").desc()),
        count=Window(Count("pk"), partition_by=F("template")),
    )
    newest = found.filter(place__lte=HITS_OF_A_TEMPLATE).order_by("template__name", "-number")
    return list(newest.values_list("pk", "count")[: MAX_HITS + 1])


def _holds(column: str, text: str) -> Q:
    """Whether the column holds the text, whatever the case; % and _ mean themselves."""
    if connection.vendor == "sqlite" and not text.isascii():
        return Q(**{f"{column}__iregex": re.escape(text)})  # SQLite's LIKE knows the case of ASCII letters only
    return Q(**{f"{column}__icontains": text})


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text), re.IGNORECASE)


def _times(source: str, text: str) -> int:
    return sum(1 for _ in _pattern(text).finditer(source))
