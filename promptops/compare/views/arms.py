"""Apply the result of a comparison: release an arm's text or put its provider first, with the comparison as reason.

Which of these an arm offers is decided in `queries.offers`.
"""

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.views.decorators.http import require_POST

from promptops.compare.blindness import Blind, blind
from promptops.compare.models import Comparison
from promptops.compare.queries.evidence import evidence_for
from promptops.compare.queries.offers import Offer, offers
from promptops.compare.views.comparisons import comparison_or_404
from promptops.ledger.audit import Actor
from promptops.people.enums import Permission
from promptops.prompts.actions import releases
from promptops.prompts.actions.releases import Reason
from promptops.prompts.checks import failures
from promptops.prompts.content import NOTHING, Content, differences
from promptops.prompts.release_checks import release_checks
from promptops.providers.actions import chain
from promptops.providers.models import Provider
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import requires
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange


class ArmChange(ReviewedChange):
    """A release with a comparison as its reason. `blind` hides its figures from a person who still has to vote."""

    comparison: Comparison
    offer: Offer
    blind: Blind | None
    form_id = "arm-form"
    is_pinned = True
    template = "compare/_release.html"

    @property
    def page(self) -> str:
        return reverse("comparison", args=[self.comparison.pk])

    @cached_property
    def reason(self) -> Reason:
        return Reason(self.comparison.pk, self.comparison.name, evidence_for(self.comparison, self.offer.arm))

    def details(self) -> dict[str, Any]:
        return {
            "comparison": self.comparison,
            "evidence": self.reason.evidence,
            "blind": self.blind,
        }


@dataclass
class PublishArm(ArmChange):
    """Make the arm's version live, or publish its text as the next version if no version is the same.

    `expected` is the id of the version that was live when the person opened the panel.
    """

    comparison: Comparison
    offer: Offer
    expected: int | None
    blind: Blind | None

    @property
    def title(self) -> str:
        return f"{self.offer.publish.label}?"

    @property
    def confirm(self) -> str:
        return self.offer.publish.label

    @property
    def content(self) -> Content:
        return self.offer.arm.content

    def changes(self) -> list[Change]:
        version, live = self.offer.version, self.offer.arm.template.live_version
        after = f"v{version.number}" if version else "the next version"
        changes = [Change("Live version", f"v{live.number}" if live else "none", after)]
        wanted = version.content if version else vars(self.content)
        settings = differences(live.content if live else NOTHING, wanted)
        changes += [Change(*each, is_text=each.is_text) for each in settings if each.before != each.after]
        return changes

    def texts(self) -> tuple[str | None, str | None]:
        live = self.offer.arm.template.live_version
        return live.body if live else "", self.offer.arm.body

    def details(self) -> dict[str, Any]:
        checks = release_checks(self.offer.arm, self.offer.arm.template.operation)
        return {
            **super().details(),
            "action": reverse("arm_publish", args=[self.comparison.pk, self.offer.arm.pk]),
            "values": [("expected", self.expected or "")],
            "checks": checks,
            "failed": bool(failures(checks)),
        }

    def refusal(self) -> str:
        return self.offer.publish.why_not

    def apply(self, *, by: Actor, note: str) -> None:
        details: dict[str, Any] = {"by": by, "expected": self.expected, "note": note, "because": self.reason}
        if self.offer.version:
            self.version = releases.roll_back(self.offer.version, **details)
        else:
            self.version = releases.publish(self.offer.arm.template, self.content, **details)

    def result(self) -> str:
        return f"v{self.version.number} of {self.offer.arm.template.name} is live."


@dataclass
class PutFirst(ArmChange):
    """Put the arm's provider first in the chain. `expected` is the order that the person saw."""

    comparison: Comparison
    offer: Offer
    expected: list[int]
    blind: Blind | None

    def __post_init__(self) -> None:
        self.names = dict(Provider.objects.values_list("id", "name"))
        provider = self.offer.arm.provider_id
        others = [each for each in self.expected if each != provider]
        self.order = [provider, *others] if provider in self.names else self.expected

    @property
    def title(self) -> str:
        return f"{self.offer.first.label}?"

    @property
    def confirm(self) -> str:
        return self.offer.first.label

    def changes(self) -> list[Change]:
        before, after = (
            " → ".join(self.names.get(each, "?") for each in order) for order in (self.expected, self.order)
        )
        return [Change("Order", before, after)]

    def details(self) -> dict[str, Any]:
        return {
            **super().details(),
            "action": reverse("arm_first", args=[self.comparison.pk, self.offer.arm.pk]),
            "values": [("expected", ",".join(str(each) for each in self.expected))],
        }

    def refusal(self) -> str:
        return self.offer.first.why_not

    def apply(self, *, by: Actor, note: str) -> None:
        chain.reorder(self.order, by=by, expected=self.expected, note=note, because=self.reason)

    def result(self) -> str:
        return f"{self.names[self.order[0]]} is now first in the chain."

    def undo(self) -> str:
        return "To undo, move it back on the Providers page."


@requires(Permission.RELEASE)
@require_POST
def publish(request: Request, pk: int, arm: int) -> HttpResponse:
    """Make the arm's version live, or publish its text as the next version if no version is the same."""
    comparison, offer = _offer_or_404(pk, arm)
    current = offer.arm.template.live_version
    # A confirmed panel sends the version that was live when it was opened.
    live_id = current.pk if current else None
    expected = whole_number(request.POST.get("expected")) if review.confirmed(request) else live_id
    return review.run(request, PublishArm(comparison, offer, expected, blind(request, comparison)))


@requires(Permission.RELEASE)
@require_POST
def make_first(request: Request, pk: int, arm: int) -> HttpResponse:
    """Put the arm's provider first in the chain."""
    comparison, offer = _offer_or_404(pk, arm)
    expected = list(Provider.objects.values_list("id", flat=True))
    if review.confirmed(request):
        parts = request.POST.get("expected", "").split(",")
        expected = [number for part in parts if (number := whole_number(part)) is not None]
    return review.run(request, PutFirst(comparison, offer, expected, blind(request, comparison)))


def _offer_or_404(pk: int, arm: int) -> tuple[Comparison, Offer]:
    comparison = comparison_or_404(pk)
    for offer in offers(comparison):
        if offer.arm.pk == arm:
            return comparison, offer
    raise Http404
