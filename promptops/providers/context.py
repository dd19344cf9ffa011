"""Values for each row of the list of providers: the details of an open one, and the address that opens or closes it.

States and figures belong to `runs.queries`.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from promptops.providers.changes import shown_fields
from promptops.providers.models import Provider
from promptops.providers.queries import Learned, learned
from promptops.runs.queries.provider_calls import LastCall
from promptops.runs.queries.provider_figures import last_failures
from promptops.runs.queries.providers import ProviderRow


@dataclass(frozen=True)
class Details:
    """The part of an open row beneath its line: settings in words, the newest failures, learned adaptations."""

    facts: list[tuple[str, str]]
    failures: list[LastCall]
    learned: list[Learned]


@dataclass(frozen=True)
class Line:
    """One row of the list. `toggle` is the address of the list with this row opened or closed."""

    row: ProviderRow
    details: Details | None
    toggle: str


def lines(rows: list[ProviderRow], opened: list[int]) -> list[Line]:
    """Return the rows of the list. Open ones take five queries more, however many they are."""
    details = _details(opened) if opened else {}
    return [Line(row, details.get(row.id), address(_toggled(opened, row.id))) for row in rows]


def address(opened: list[int]) -> str:
    """Return the address of the list with these rows open."""
    query = urlencode([("open", pk) for pk in opened])
    return f"{reverse('providers')}{'?' if query else ''}{query}"


def _toggled(opened: list[int], pk: int) -> list[int]:
    return [other for other in opened if other != pk] if pk in opened else [*opened, pk]


def _details(opened: list[int]) -> dict[int, Details]:
    providers = list(Provider.objects.filter(pk__in=opened).prefetch_related("learned"))
    failures = last_failures([provider.name for provider in providers], timezone.now())
    return {
        provider.pk: Details(
            [(label, text) for label, text in shown_fields(provider).items() if label != "Name" and text != "–"],
            failures.get(provider.name, []),
            learned(provider),
        )
        for provider in providers
    }
