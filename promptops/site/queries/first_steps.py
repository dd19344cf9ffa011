"""The first steps of a new installation, each ticked by a fact of the database."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists

from promptops.engine.providers.kinds import KINDS
from promptops.fleet.enums import ServerKind
from promptops.fleet.models import Server
from promptops.ledger.models import LiveConfiguration, Release
from promptops.people.enums import LinkPurpose, Permission
from promptops.people.models import OneTimeLink, User
from promptops.providers.models import Provider
from promptops.runs.models import Run, RunTotals

EMBEDDED = [name for name, kind in KINDS.items() if kind.embedded]


@dataclass(frozen=True)
class Step:
    """A first step: its name, the permission that it needs, and whether it is done."""

    name: str
    permission: Permission
    is_done: bool


def first_steps() -> list[Step]:
    """Return all first steps in their order, by one query."""
    facts = {
        "provider": Exists(Provider.objects.exclude(kind__in=EMBEDDED)),
        "try": Exists(Run.objects.all()) | Exists(RunTotals.objects.all()),
        "publish": Exists(Release.objects.filter(action__startswith="template.published", user__isnull=False)),
        "invite": Exists(User.objects.all()[1:]) | Exists(OneTimeLink.objects.filter(purpose=LinkPurpose.JOIN)),
        "server": Exists(Server.objects.exclude(kind=ServerKind.PROCESS)),
    }
    done: Any = LiveConfiguration.objects.filter(pk=1).values(**facts).get()
    return [Step(name, permission, done[name]) for name, permission in PERMISSIONS.items()]


PERMISSIONS = {
    "provider": Permission.ADMINISTER,
    "try": Permission.EDIT,
    "publish": Permission.RELEASE,
    "invite": Permission.ADMINISTER,
    "server": Permission.ADMINISTER,
}
