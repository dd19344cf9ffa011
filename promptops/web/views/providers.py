"""Providers: the chain, its order, and each provider's fields and key. Tests go over the page's socket."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget

from promptops.actions import adaptations
from promptops.actions import providers as actions
from promptops.actions.errors import Refused
from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.enums import Permission, ProviderKind
from promptops.key_variables import address_of, is_sent_in_the_clear, problem_of
from promptops.models import Provider
from promptops.queries import providers as queries
from promptops.text import whole_number
from promptops.web import review
from promptops.web.access import actor, refusal, requires
from promptops.web.forms_providers import EditProviderForm, KeyForm, NewProviderForm, reshaped
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed

KEY_DROPPED = "The key was entered for another server, so this change removes it. Enter the key again afterwards."
UNENCRYPTED = "The key is sent to {host} unencrypted. Use an https:// address, or a network that you trust."
ALL_OFF = "With this no provider is on: every run fails until one is turned on again."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """The chain in its order; for an htmx request only the list, or with `states` only how each one is."""
    if request.htmx and "states" in request.GET:
        rows = queries.listed()
        return render(request, "providers/_states.html", {"rows": rows, "passing": _passing(rows)})
    rows = queries.with_figures()
    context = {
        "rows": rows,
        "passing": _passing(rows),
        "order": ",".join(str(row.id) for row in rows),
        "none_on": not any(row.enabled for row in rows),
        "refusal": refusal(Permission.ADMINISTER),
    }
    return render(request, "providers/_chain.html" if request.htmx else "providers/index.html", context)


@requires(Permission.RELEASE)
@require_POST
def reorder(request: Request) -> HttpResponse:
    """Put the providers in the posted order (`order`, one id each), which started from `expected`."""
    order, expected = _ids(request.POST.getlist("order")), _ids(request.POST.get("expected", "").split(","))
    names = dict(Provider.objects.values_list("id", "name"))
    asked: dict[str, Any] = {
        "title": "Change the order of the chain",
        "confirm": "Change the order",
        "form_id": "order-form",
        "changes": [Change("Order", _arrows(names, expected), _arrows(names, order))],
        "template": "_review_form.html",
        "action": reverse("provider_order"),
        "values": [("order", pk) for pk in order] + [("expected", request.POST.get("expected", ""))],
    }
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        actions.reorder(order, by=actor(request), expected=expected, note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **asked)
    return review.done(
        request,
        reverse("providers"),
        f"The order is {_arrows(names, order)} now. It was {_arrows(names, expected)}; move it back to undo.",
    )


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("key")
def new(request: Request) -> HttpResponse:
    """Add a provider at the end of the chain."""
    if request.method != "POST":
        return _page(request, "new", {"form": NewProviderForm()})
    if "reshape" in request.POST:
        return _page(request, "new", {"form": NewProviderForm(initial=reshaped(request.POST))})
    form = NewProviderForm(request.POST)
    if not form.is_valid():
        return _invalid(request, "new", form, {"form": form})
    fields, key = form.provider_fields, form.chosen_key
    told = _told(actions.planned(fields, **key))
    asked: dict[str, Any] = {
        "title": f"Add {fields.name}",
        "confirm": f"Add {fields.name}",
        "form_id": "provider-form",
        "changes": [Change(label, "–", after) for label, after in told.items() if after != "–"],
        "affected": f"It comes last in the chain: it is asked when all others have failed. {review.AFFECTED}",
        "warning": form.dropped_endpoint,
        "template": "_review_warning.html",
    }
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        provider = actions.create_provider(fields, by=actor(request), note=review.note(request), **key)
    except ValidationError as error:
        return review.panel(request, error=" ".join(error.messages), **asked)
    done = f"{provider.name} is added at the end of the chain. Turn it off to undo. {form.dropped_endpoint}"
    return review.done(request, reverse("providers"), done.rstrip())


@requires(Permission.ADMINISTER)
def edit(request: Request, pk: int) -> HttpResponse:
    """Change a provider's fields; the page also has its key and the way to remove it."""
    if "seen" in request.GET:
        found = Provider.objects.filter(pk=pk).first()
        return changed(request, found.name if found else "this provider", found.changed_revision if found else None)
    provider = get_object_or_404(Provider, pk=pk)
    if request.method != "POST":
        return _page(request, "edit", _edit_context(provider))
    if "reshape" in request.POST:
        return _page(
            request, "edit", _edit_context(provider, EditProviderForm(provider, initial=reshaped(request.POST)))
        )
    form = EditProviderForm(provider, request.POST)
    if not form.is_valid():
        return _invalid(request, "edit", form, _edit_context(provider, form))
    before, after = _told(provider), _told(form.after)
    asked: dict[str, Any] = {
        "title": f"Change {provider.name}",
        "confirm": f"Save {form.after.name}",
        "form_id": "provider-form",
        "changes": [Change(label, before[label], after[label]) for label in after if after[label] != before[label]],
        "affected": _affected(provider),
        "warning": " ".join(
            filter(None, [KEY_DROPPED if form.drops_key else _unencrypted(form.after), form.dropped_endpoint])
        ),
        "template": "_review_warning.html",
    }
    if form.cleaned_data["expected"] != provider.changed_revision:
        return _stale(request, provider, "id_expected", asked)
    if not asked["changes"]:
        return review.panel(request, error=f"No changes to save: {provider.name} is as it was.", **asked)
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        provider = actions.edit_provider(
            provider,
            form.provider_fields,
            by=actor(request),
            expected=form.cleaned_data["expected"],
            note=review.note(request),
        )
    except (Refused, ValidationError) as error:
        return review.panel(request, error=_sentence(error), **asked)
    if form.drops_key:
        said = f"{provider.name} is changed. Enter its key again: it has none now."
        return review.done(request, reverse("provider", args=[pk]), said)
    done = f"{provider.name} is changed. {_undo(asked['changes'])} {form.dropped_endpoint}"
    return review.done(request, reverse("providers"), done.rstrip())


@requires(Permission.RELEASE)
@require_POST
def ask_again(request: Request, pk: int) -> HttpResponse:
    """End the provider's cooldown, then show the page on which the button was pressed."""
    provider = get_object_or_404(Provider, pk=pk)
    actions.ask_again(provider, by=actor(request))
    page = reverse("provider", args=[pk]) if request.POST.get("page") == "provider" else reverse("providers")
    return review.done(request, page, f"{provider.name} may be asked again now.")


@requires(Permission.ADMINISTER)
@require_POST
def forget(request: Request, pk: int) -> HttpResponse:
    """Forget an adaptation that was learned of the provider (`name`)."""
    provider = get_object_or_404(Provider, pk=pk)
    url = reverse("provider", args=[pk])
    try:
        adaptations.forget(provider, request.POST.get("name", ""), by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
        return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
    return review.done(request, url, f"{provider.name} forgot it: the next run asks without it.")


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("key")
@require_POST
def key(request: Request, pk: int) -> HttpResponse:
    """Change where a provider's key comes from. A stored key is never shown, not even to who stored it."""
    provider = get_object_or_404(Provider, pk=pk)
    if "reshape" in request.POST:
        form = KeyForm(provider, initial=reshaped(request.POST))
        return _page(request, "edit", _edit_context(provider, key_form=form), part="key")
    form = KeyForm(provider, request.POST)
    if not form.is_valid():
        return _invalid(request, "edit", form, _edit_context(provider, key_form=form), part="key")
    after = queries.key_sentence(form.after) + (", the one that you typed" if form.chosen_key["key"] else "")
    asked: dict[str, Any] = {
        "title": f"Change the key of {provider.name}",
        "confirm": "Change the key",
        "form_id": "key-form",
        "changes": [Change("Key", queries.key_sentence(provider), after)],
        "affected": _affected(provider),
        "warning": _unencrypted(form.after),
        "template": "_review_warning.html",
    }
    if form.cleaned_data["expected"] != provider.changed_revision:
        return _stale(request, provider, "key_expected", asked)
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        provider = actions.change_key(
            provider,
            by=actor(request),
            expected=form.cleaned_data["expected"],
            note=review.note(request),
            **form.chosen_key,
        )
    except (Refused, ValidationError) as error:
        return review.panel(request, error=_sentence(error), **asked)
    said = f"The key of {provider.name} is changed. Test it; to undo, enter the old one again."
    return review.done(request, reverse("providers"), said)


@requires(Permission.RELEASE)
@require_POST
def enabled(request: Request, pk: int) -> HttpResponse:
    """Turn a provider on or off (`enabled` is 1 or 0)."""
    provider = get_object_or_404(Provider, pk=pk)
    wanted = request.POST.get("enabled") == "1"
    word, other = ("on", "off") if wanted else ("off", "on")
    last_one = not wanted and not Provider.objects.filter(enabled=True).exclude(pk=pk).exists()
    asked: dict[str, Any] = {
        "title": f"Turn {provider.name} {word}",
        "confirm": f"Turn {provider.name} {word}",
        "form_id": "enabled-form",
        "changes": [Change(provider.name, other, word)],
        "warning": ALL_OFF if last_one else "",
        "danger": last_one,
        "template": "_review_form.html",
        "action": reverse("provider_enabled", args=[pk]),
        "values": [("enabled", int(wanted))],
    }
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        actions.set_enabled(provider, wanted, by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **asked)
    return review.done(request, reverse("providers"), f"{provider.name} is {word}. Turn it {other} again to undo.")


@requires(Permission.ADMINISTER)
@require_POST
def remove(request: Request, pk: int) -> HttpResponse:
    """Remove a provider that is off, and its key."""
    provider = get_object_or_404(Provider, pk=pk)
    expected = request.POST.get("expected", "")
    asked: dict[str, Any] = {
        "title": f"Remove {provider.name}",
        "confirm": f"Remove {provider.name}",
        "form_id": "remove-form",
        "changes": [Change(label, before, "–") for label, before in _told(provider).items() if before != "–"],
        "affected": "It is off, so no run is affected. Runs keep its name. A stored key is gone for good.",
        "danger": True,
        "template": "_review_form.html",
        "action": reverse("provider_remove", args=[pk]),
        "values": [("expected", expected)],
    }
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        actions.remove_provider(
            provider,
            by=actor(request),
            expected=whole_number(expected) or 0,  # 0 was never a revision: refused as out of date
            note=review.note(request),
        )
    except Refused as refused:
        return review.panel(request, error=str(refused), **asked)
    said = f"{provider.name} is removed. To undo, add it again; the audit has its fields."
    return review.done(request, reverse("providers"), said)


def _passing(rows: list[queries.ProviderRow]) -> bool:
    return any(row.passing for row in rows)


def _page(
    request: Request, page: str, context: dict[str, Any], *, part: str = "provider", status: int = 200
) -> HttpResponse:
    """The page, or for an htmx request only its form `part`, which replaces itself."""
    if not request.htmx:
        return render(request, f"providers/{page}.html", context, status=status)
    fragment = "_key_form.html" if part == "key" else f"_{page}_form.html"
    response = render(request, f"providers/{fragment}", context, status=status)
    return reswap(retarget(response, f"#{part}-form"), "outerHTML")


def _invalid(
    request: Request, page: str, form: forms.Form, context: dict[str, Any], *, part: str = "provider"
) -> HttpResponse:
    """The form with its errors; over an open panel, the errors in the panel."""
    if request.htmx and review.confirmed(request):
        error = " ".join(str(message) for messages in form.errors.values() for message in messages)
        return review.panel(request, title="Not saved", confirm="Try again", form_id=f"{part}-form", error=error)
    return _page(request, page, context, part=part, status=422)


def _edit_context(
    provider: Provider, form: EditProviderForm | None = None, key_form: KeyForm | None = None
) -> dict[str, Any]:
    return {
        "provider": provider,
        "form": form or EditProviderForm(provider),
        "key_form": key_form or KeyForm(provider),
        "key": queries.key_sentence(provider),
        "key_problem": problem_of(provider),
        "unencrypted": _unencrypted(provider),
        "seen": provider.changed_revision,
        "row": queries.one(provider),
        "learned": queries.learned(provider),
    }


def _stale(request: Request, provider: Provider, expected_id: str, asked: dict[str, Any]) -> HttpResponse:
    """Someone was faster: what is there now against what was typed, and from now on the page knows what is there."""
    error = (
        f"Someone changed {provider.name} meanwhile. What you typed is kept; below it is compared with what is there "
        "now. Save it to replace theirs, or reload the page to drop yours."
    )
    context = asked | {"template": "providers/_stale.html", "expected_id": expected_id}
    return review.panel(request, error=error, expected=provider.changed_revision, **context)


def _told(provider: Provider) -> dict[str, str]:
    """A provider's fields in words, without its key."""
    return {
        "Name": provider.name,
        "Kind": provider.get_kind_display(),
        "Model id": provider.model or "–",
        "Base URL": address_of(provider) or "–",
        "Key": "–" if provider.kind == ProviderKind.LOCAL else queries.key_sentence(provider),
        "Time limit": f"{provider.timeout_ms:,} ms" if provider.timeout_ms else "–",
        "First text within": f"{provider.first_text_ms:,} ms" if provider.first_text_ms else "–",
        "Longest pause": f"{provider.stall_ms:,} ms" if provider.stall_ms else "–",
        "Calls at once": f"{provider.max_concurrent:,}" if provider.max_concurrent else "–",
        "Context": f"{provider.context_tokens:,} tokens" if provider.context_tokens else "–",
        "Price of input": _price(provider.price_input),
        "Price of cached input": _price(provider.price_cached),
        "Price of output": _price(provider.price_output),
        "When its key is refused": "fall back" if provider.fall_back_on_auth else "–",
        "When its model is not found": "fall back" if provider.fall_back_on_not_found else "–",
        "When the model declines": "fall back" if provider.fall_back_on_refused else "–",
        "Asked differently": "; ".join(ADAPTATIONS[name].label for name in provider.adaptations) or "–",
    }


def _price(usd: float | None) -> str:
    return "–" if usd is None else f"${usd:,.15g} per million tokens"


def _affected(provider: Provider) -> str:
    return review.AFFECTED if provider.enabled else "It is off, so no run is affected."


def _unencrypted(provider: Provider) -> str:
    """Return the warning for a key that leaves this machine unencrypted, or ""."""
    host = urlsplit(address_of(provider)).hostname
    return UNENCRYPTED.format(host=host) if is_sent_in_the_clear(provider) else ""


def _undo(changes: list[Change]) -> str:
    """How to take an edit back."""
    if len(changes) > 1:
        return "To undo, edit it back; the audit has what it was."
    return f"{changes[0].label} was {changes[0].before}; edit it back to undo."


def _sentence(error: Refused | ValidationError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def _ids(given: list[str]) -> list[int]:
    return [number for item in given if (number := whole_number(item)) is not None]


def _arrows(names: dict[int, str], order: list[int]) -> str:
    return " → ".join(names.get(pk, "(removed)") for pk in order)
