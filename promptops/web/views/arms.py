"""Acting on a comparison: releasing an arm's text, or putting its provider first, with the comparison as the reason."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops import live
from promptops.actions import providers, releases
from promptops.actions.errors import Refused
from promptops.actions.releases import Content, Reason
from promptops.checks import failures, run_checks
from promptops.enums import Permission
from promptops.models import Comparison, Provider
from promptops.queries import evidence
from promptops.queries.offers import Offer, offers
from promptops.text import whole_number
from promptops.web import blindness, review
from promptops.web.access import actor, requires
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.views.comparisons import found


@requires(Permission.RELEASE)
@require_POST
def publish(request: Request, pk: int, arm: int) -> HttpResponse:
    """Make the arm's version live, or its text the next version where no version says the same."""
    comparison, offer = _chosen(pk, arm)
    chosen = offer.arm
    template, current = chosen.template, chosen.template.live_version
    reason = _reason(comparison, offer)
    content = Content(chosen.body, chosen.temperature, chosen.max_tokens, chosen.model)
    # A confirmed panel names what was live when it was shown.
    shown = whole_number(request.POST.get("expected")) if review.confirmed(request) else current and current.pk
    error = offer.publish.why_not
    if review.confirmed(request) and not error:
        given: dict[str, Any] = {"by": actor(request), "expected": shown, "note": review.note(request)}
        try:
            if offer.version:
                version = releases.roll_back(offer.version, because=reason, **given)
            else:
                version = releases.publish(template, content, because=reason, **given)
        except (Refused, ValidationError) as refused:
            error = " ".join(refused.messages) if isinstance(refused, ValidationError) else str(refused)
        else:
            return review.done(
                request, reverse("comparison", args=[pk]), f"v{version.number} of {template.name} is live."
            )
    checks = run_checks(chosen.body, live.values_of(template.operation))
    after = f"v{offer.version.number}" if offer.version else "the next version"
    settings = {"temperature": "Temperature", "max_tokens": "Max tokens", "model": "Model"}
    wanted = offer.version.content if offer.version else vars(content)
    changes = [Change("Live version", f"v{current.number}" if current else "none", after)]
    for name, label in settings.items():
        before = current.content[name] if current else None
        if wanted[name] != before:
            changes.append(Change(label, _told(before), _told(wanted[name])))
    return _panel(
        request,
        reason,
        title=f"{offer.publish.label}?",
        confirm=offer.publish.label,
        action=reverse("arm_publish", args=[pk, arm]),
        values=[("expected", shown or "")],
        changes=changes,
        old=current.body if current else "",
        new=chosen.body,
        error=error,
        checks=checks,
        failed=bool(failures(checks)),
    )


@requires(Permission.RELEASE)
@require_POST
def make_first(request: Request, pk: int, arm: int) -> HttpResponse:
    """Put the arm's provider at the head of the chain."""
    comparison, offer = _chosen(pk, arm)
    names = dict(Provider.objects.values_list("id", "name"))
    current = list(Provider.objects.values_list("id", flat=True))
    expected = current
    if review.confirmed(request):
        given = request.POST.get("expected", "").split(",")
        expected = [number for each in given if (number := whole_number(each)) is not None]
    reason, error = _reason(comparison, offer), offer.first.why_not
    provider = offer.arm.provider_id or 0
    order = [provider, *(each for each in expected if each != provider)] if provider in names else expected
    if review.confirmed(request) and not error:
        try:
            note = review.note(request)
            providers.reorder(order, by=actor(request), expected=expected, note=note, because=reason)
        except Refused as refused:
            error = str(refused)
        else:
            message = f"{names[provider]} is the first in the chain now. Move it back on the Providers page to undo."
            return review.done(request, reverse("comparison", args=[pk]), message)
    return _panel(
        request,
        reason,
        title=f"{offer.first.label}?",
        confirm=offer.first.label,
        action=reverse("arm_first", args=[pk, arm]),
        values=[("expected", ",".join(str(each) for each in expected))],
        changes=[Change("Order", *(" → ".join(names.get(each, "?") for each in ids) for ids in (expected, order)))],
        error=error,
    )


def _panel(request: Request, reason: Reason, **given: Any) -> HttpResponse:
    return review.panel(
        request,
        form_id="arm-form",
        template="compare/_release.html",
        comparison=reason.comparison,
        evidence=reason.evidence,
        left=blindness.left_before_seeing(request, reason.comparison),
        **given,
    )


def _chosen(pk: int, arm: int) -> tuple[Comparison, Offer]:
    comparison = found(pk)
    for offer in offers(comparison):
        if offer.arm.pk == arm:
            return comparison, offer
    raise Http404


def _reason(comparison: Comparison, offer: Offer) -> Reason:
    return Reason(comparison, evidence.of(comparison, offer.arm))


def _told(value: Any) -> str:
    return "default" if value in (None, "") else str(value)
