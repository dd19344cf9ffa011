"""Reads of the people who have a template open, for its editor."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from promptops.people.models import User
from promptops.prompts.models import Draft, Presence, Template


@dataclass(frozen=True)
class Present:
    """A person who has the template open. `initials` are at most two letters."""

    name: str
    initials: str
    has_draft: bool


@dataclass(frozen=True)
class Company:
    """The other people, by name, and the number of pages in which the reader has the template open."""

    others: list[Present]
    own_pages: int


def at(template: Template, user: User) -> Company:
    """Return the people other than `user` who have the template open, each once, in one query."""
    draft = Draft.objects.filter(template=template, user=OuterRef("user"))
    rows = Presence.current().filter(template=template).values_list("user_id", "user__name", Exists(draft))
    others: dict[int, Present] = {}
    own_pages = 0
    for pk, name, has_draft in rows:
        if pk == user.pk:
            own_pages += 1
        else:
            others[pk] = Present(name, initials(name), has_draft)
    return Company(sorted(others.values(), key=lambda person: person.name.casefold()), own_pages)


def initials(name: str) -> str:
    """Return the first letters of the first and the last word, in capitals."""
    words = name.split()
    return "".join(word[0] for word in [*words[:1], *words[1:][-1:]]).upper()
