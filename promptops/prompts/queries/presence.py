"""Who has a template open, as its editor shows it."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from promptops.people.models import User
from promptops.prompts.models import Draft, Presence, Template


@dataclass(frozen=True)
class Present:
    """Somebody with the template open. `initials`: at most two letters of the name."""

    name: str
    initials: str
    has_draft: bool


@dataclass(frozen=True)
class Company:
    """The others, by name, and in how many pages the person who asks has the template open."""

    others: list[Present]
    own_pages: int


def at(template: Template, user: User) -> Company:
    """Who has the template open beside `user`, in one query; each person once, whatever the number of their pages."""
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
    """The first letters of the first and the last word, as capitals."""
    words = name.split()
    return "".join(word[0] for word in [*words[:1], *words[1:][-1:]]).upper()
