"""The Alerts page of the settings: destinations, the conditions that hold, and the log of messages."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from promptops.alerts import queries
from promptops.alerts.actions import deliveries
from promptops.alerts.actions import destinations as actions
from promptops.alerts.conditions import rules_now
from promptops.alerts.enums import DestinationKind
from promptops.alerts.forms import DestinationForm, RulesForm
from promptops.alerts.kinds import KINDS
from promptops.alerts.models import Delivery, Destination
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.platform.addresses import public_address
from promptops.platform.pages import page
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, part_of, requires
from promptops.web.request import Request

MESSAGES = 25
"""Messages on a page of the log."""


@requires(Permission.ADMINISTER)
def index(request: Request) -> HttpResponse:
    """Show the page; for an htmx request only the conditions and the log, which follow changes."""
    if request.htmx:
        return render(request, "alerts/_log.html", _log(request))
    return _index(request, RulesForm(rules_now()))


def _index(request: Request, form: RulesForm, *, status: int = 200) -> HttpResponse:
    rows = queries.destinations()
    has_email = any(row.destination.kind == DestinationKind.EMAIL for row in rows)
    context = {
        "rows": rows,
        "form": form,
        "mail_is_missing": has_email and not settings.EMAIL_HOST,
        "address": "" if settings.PUBLIC_ADDRESS else public_address(),
        **_log(request),
    }
    return render(request, "alerts/index.html", context, status=status)


def _log(request: Request) -> dict[str, Any]:
    before, after = (whole_number(request.GET.get(name)) for name in ("before", "after"))
    return {
        "open_alerts": queries.open_alerts(),
        "page": page(queries.messages(), before=before, after=after, size=MESSAGES),
    }


@requires(Permission.ADMINISTER)
@require_POST
def rules(request: Request) -> HttpResponse:
    """Change when the error rate of runs is an alert."""
    form = RulesForm(rules_now(), request.POST)
    if form.is_valid():
        try:
            actions.change_rules(form.values, by=actor(request), expected=form.cleaned_data["expected"])
        except (Refused, ValidationError) as error:
            form.add_error(None, review.sentence(error))
        else:
            return review.done(request, reverse("alerts"), "The error rate that is an alert is saved.")
    return _index(request, form, status=422)


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("address")
def new(request: Request) -> HttpResponse:
    """Add a destination of the kind `kind`. A webhook's secret is shown once, in the answer."""
    chosen = request.POST.get("kind") or request.GET.get("kind")
    kind = DestinationKind.EMAIL if chosen == DestinationKind.EMAIL else DestinationKind.WEBHOOK
    form = DestinationForm(kind, request.POST or None)
    if request.method != "POST":
        form.initial["alerts"] = list(KINDS)
        return _page(request, "new", _form_context(form))
    if not form.is_valid():
        return _page(request, "new", _form_context(form), status=422)
    try:
        destination, text = actions.add(form.values, by=actor(request))
    except (Refused, ValidationError) as error:
        return _refused(request, "new", form, error)
    if not text:
        return review.done(request, reverse("destination", args=[destination.pk]), f"{destination.name} is added.")
    context = {"destination": destination, "secret": text, "sentence": f"{destination.name} is added."}
    return _page(request, "new", context)


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("address")
def edit(request: Request, pk: int) -> HttpResponse:
    """Change a destination. The page also has the buttons that test, turn, rotate and remove it."""
    destination = get_object_or_404(Destination, pk=pk)
    form = DestinationForm(destination.kind, request.POST or None, destination=destination)
    context = {"destination": destination, "row": queries.DestinationRow(destination, None), **_form_context(form)}
    if request.method != "POST":
        return _page(request, "edit", context)
    if not form.is_valid():
        return _page(request, "edit", context, status=422)
    try:
        actions.change(destination, form.values, by=actor(request), expected=form.cleaned_data["expected"] or 0)
    except (Refused, ValidationError) as error:
        return _refused(request, "edit", form, error, context)
    return review.done(request, reverse("alerts"), f"{form.values.name} is saved.")


@requires(Permission.ADMINISTER)
@require_POST
def enabled(request: Request, pk: int) -> HttpResponse:
    """Turn a destination on or off (`enabled` is 1 or 0)."""
    destination, wanted = get_object_or_404(Destination, pk=pk), request.POST.get("enabled") == "1"
    url = reverse("destination", args=[pk])
    try:
        actions.set_enabled(destination, wanted, by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
        return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
    return review.done(request, url, f"{destination.name} is {'on' if wanted else 'off'}.")


@requires(Permission.ADMINISTER)
@require_POST
def secret(request: Request, pk: int) -> HttpResponse:
    """Show the panel of a rotation, then give the webhook a new secret and show it, once."""
    destination = get_object_or_404(Destination, pk=pk)
    content: dict[str, Any] = {
        "title": f"Rotate the secret of {destination.name}",
        "confirm": "Make the new secret",
        "form_id": "secret-form",
        "affected": "Both secrets sign messages for 24 hours. Give the new one to the receiver in that time.",
        "template": "_review_form.html",
        "action": reverse("destination_secret", args=[pk]),
        "values": [],
        "without_note": True,
    }
    if not review.confirmed(request):
        return review.panel(request, **content)
    try:
        destination, text = actions.rotate_secret(destination, by=actor(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    context = {"destination": destination, "secret": text, "sentence": "The new secret signs from now on."}
    return render(request, "alerts/_secret_dialog.html", context)


@requires(Permission.ADMINISTER)
@require_POST
def remove(request: Request, pk: int) -> HttpResponse:
    """Show the panel of a removal, then remove the destination."""
    destination = get_object_or_404(Destination, pk=pk)
    content: dict[str, Any] = {
        "title": f"Remove {destination.name}",
        "confirm": f"Remove {destination.name}",
        "form_id": "removal-form",
        "affected": "It gets no more alerts, and its messages leave the log. This cannot be undone.",
        "danger": True,
        "template": "_review_form.html",
        "action": reverse("destination_remove", args=[pk]),
        "values": [],
    }
    if not review.confirmed(request):
        return review.panel(request, **content)
    try:
        actions.remove(destination, by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    return review.done(request, reverse("alerts"), f"{destination.name} is removed.")


@requires(Permission.ADMINISTER)
@require_POST
def test(request: Request, pk: int) -> HttpResponse:
    """Send a test message, and return the part of the page that follows it."""
    destination = get_object_or_404(Destination, pk=pk)
    delivery = deliveries.send_test(destination, by=actor(request))
    if not request.htmx:
        return redirect("alerts")
    return _test(request, delivery)


@requires(Permission.ADMINISTER)
@part_of("alerts")
def test_state(request: Request, pk: int) -> HttpResponse:
    """Return how a test message is doing."""
    return _test(request, get_object_or_404(queries.messages(), pk=pk, is_test=True))


@requires(Permission.ADMINISTER)
@require_POST
def cancel(request: Request, pk: int) -> HttpResponse:
    """Cancel a test message."""
    delivery = get_object_or_404(queries.messages(), pk=pk, is_test=True)
    deliveries.cancel(delivery)
    delivery.refresh_from_db(fields=["state", "answer"])
    return _test(request, delivery)


@requires(Permission.ADMINISTER)
@require_POST
def again(request: Request, pk: int) -> HttpResponse:
    """Send a message of the log once more."""
    delivery = get_object_or_404(Delivery.objects.select_related("destination"), pk=pk)
    try:
        deliveries.send_again(delivery)
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"The message is sent to {delivery.destination.name} again.")
    return HttpResponseClientRedirect(reverse("alerts")) if request.htmx else redirect("alerts")


def _test(request: Request, delivery: Delivery) -> HttpResponse:
    return render(request, "alerts/_test.html", {"destination": delivery.destination, "delivery": delivery})


def _form_context(form: DestinationForm) -> dict[str, Any]:
    return {"form": form, "kind": form.kind, "kinds": KINDS.values(), "mail_is_missing": not settings.EMAIL_HOST}


def _refused(
    request: Request,
    template: str,
    form: DestinationForm,
    error: Refused | ValidationError,
    context: dict[str, Any] | None = None,
) -> HttpResponse:
    if isinstance(error, ValidationError):
        form.show(error)
    else:
        form.add_error(None, str(error))
    return _page(request, template, (context or {}) | _form_context(form), status=422)


def _page(request: Request, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """Show the page; an htmx request gets only the form, or the secret in its place."""
    fragment = "_secret.html" if "secret" in context else "_form.html"
    name = fragment if request.htmx else f"{template}.html"
    return render(request, f"alerts/{name}", context, status=status)
