"""Pages of the chain, its order, and each provider's fields and key.

Test calls go over the page's socket (`runs.socket`).
"""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget

from promptops.engine.errors import LLMProviderError
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.providers import trials
from promptops.providers.actions import adaptations
from promptops.providers.actions import chain as actions
from promptops.providers.changes import (
    AddProvider,
    ChangeKey,
    EditProvider,
    RemoveProvider,
    ReorderChain,
    TurnProvider,
    as_it_was,
    unencrypted,
)
from promptops.providers.context import address, lines
from promptops.providers.forms.fields import LOCAL_SERVERS, reshaped
from promptops.providers.forms.whole import EditProviderForm, KeyForm, NewProviderForm
from promptops.providers.key_variables import problem_of
from promptops.providers.models import Provider
from promptops.providers.queries import key_sentence, learned
from promptops.runs.queries import providers as queries
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, refusal, requires
from promptops.web.request import Request
from promptops.web.seen import changed


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the chain in its order; the rows whose ids are in `open` show their details.

    An htmx request gets only the list, or with `states` only each state.
    """
    if request.htmx and "states" in request.GET:
        rows = queries.listed()
        return render(request, "providers/_states.html", {"rows": rows, "passing": _passing(rows)})
    rows = queries.with_figures()
    context = {
        "lines": lines(rows, _ids(request.GET.getlist("open"))),
        "address": address(_ids(request.GET.getlist("open"))),
        "passing": _passing(rows),
        "order": ",".join(str(row.id) for row in rows),
        "none_on": not any(row.enabled for row in rows),
        "refusal": refusal(Permission.ADMINISTER),
    }
    return render(request, "providers/_chain.html" if request.htmx else "providers/index.html", context)


@requires(Permission.RELEASE)
@require_POST
def reorder(request: Request) -> HttpResponse:
    """Put the providers in the posted order (`order`, one id each). The person saw the order `expected`."""
    order, expected = _ids(request.POST.getlist("order")), _ids(request.POST.get("expected", "").split(","))
    return review.run(request, ReorderChain(order, expected, request.POST.get("expected", "")))


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
    return review.run(request, AddProvider(form, request.POST.get("proof", "")))


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("key")
@require_POST
def models(request: Request) -> HttpResponse:
    """Ask the provider of the form for its models, and show them as choices; nothing is saved."""
    form = NewProviderForm(request.POST)
    context: dict[str, Any] = {}
    try:
        context["models"] = trials.models_of(form.connection())
    except (ValidationError, LLMProviderError) as error:
        context["problem"] = _sentence(error)
    return render(request, "providers/_models.html", context)


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("key")
@require_POST
def trial(request: Request) -> HttpResponse:
    """Test the provider of the form with one call; nothing is saved."""
    form = NewProviderForm(request.POST)
    if not form.is_valid():
        return _invalid(request, "new", form, {"form": form})
    context: dict[str, Any] = {"name": form.planned.name}
    try:
        context["response"] = trials.try_call(form.planned)
        context["proof"] = trials.seal(form.planned, form.chosen_key["key"])
    except LLMProviderError as error:
        context["problem"] = _sentence(error)
    return render(request, "providers/_trial.html", context)


@requires(Permission.ADMINISTER)
def edit(request: Request, pk: int) -> HttpResponse:
    """Change a provider's fields. The page also has the forms that change its key and remove it."""
    if "seen" in request.GET:
        current = Provider.objects.filter(pk=pk).first()
        name, revision = (current.name, current.changed_revision) if current else ("this provider", None)
        return changed(request, name, revision)
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
    return review.run(request, EditProvider(provider, form))


@requires(Permission.RELEASE)
@require_POST
def ask_again(request: Request, pk: int) -> HttpResponse:
    """End the provider's cooldown, then show the page that has the pressed button."""
    provider = get_object_or_404(Provider, pk=pk)
    actions.ask_again(provider, by=actor(request))
    page = reverse("provider", args=[pk]) if request.POST.get("page") == "provider" else reverse("providers")
    return review.done(
        request, as_it_was(request, page), f"The cooldown of {provider.name} is over. The next run may call it."
    )


@requires(Permission.ADMINISTER)
@require_POST
def forget(request: Request, pk: int) -> HttpResponse:
    """Forget the learned adaptation `name` of the provider."""
    provider = get_object_or_404(Provider, pk=pk)
    url = reverse("provider", args=[pk])
    try:
        adaptations.forget(provider, request.POST.get("name", ""), by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
        return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
    return review.done(request, url, f"Forgotten. The next run calls {provider.name} without this adaptation.")


@requires(Permission.ADMINISTER)
@sensitive_post_parameters("key")
@require_POST
def key(request: Request, pk: int) -> HttpResponse:
    """Change a provider's key or its source. A stored key is never shown again."""
    provider = get_object_or_404(Provider, pk=pk)
    if "reshape" in request.POST:
        form = KeyForm(provider, initial=reshaped(request.POST))
        return _page(request, "edit", _edit_context(provider, key_form=form), part="key")
    form = KeyForm(provider, request.POST)
    if not form.is_valid():
        return _invalid(request, "edit", form, _edit_context(provider, key_form=form), part="key")
    return review.run(request, ChangeKey(provider, form))


@requires(Permission.RELEASE)
@require_POST
def enabled(request: Request, pk: int) -> HttpResponse:
    """Turn a provider on or off (`enabled` is 1 or 0)."""
    provider = get_object_or_404(Provider, pk=pk)
    return review.run(request, TurnProvider(provider, request.POST.get("enabled") == "1"))


@requires(Permission.ADMINISTER)
@require_POST
def remove(request: Request, pk: int) -> HttpResponse:
    """Remove a provider that is off, and its key."""
    provider = get_object_or_404(Provider, pk=pk)
    return review.run(request, RemoveProvider(provider, request.POST.get("expected", "")))


def _sentence(error: ValidationError | LLMProviderError) -> str:
    """Return the error in words that begin with a capital letter and end with a full stop."""
    words = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _passing(rows: list[queries.ProviderRow]) -> bool:
    return any(row.passing for row in rows)


def _page(
    request: Request, page: str, context: dict[str, Any], *, part: str = "provider", status: int = 200
) -> HttpResponse:
    """Show the page; an htmx request gets only its form `part`, which replaces itself."""
    context["local_servers"] = LOCAL_SERVERS
    if not request.htmx:
        return render(request, f"providers/{page}.html", context, status=status)
    fragment = "_key_form.html" if part == "key" else f"_{page}_form.html"
    response = render(request, f"providers/{fragment}", context, status=status)
    return reswap(retarget(response, f"#{part}-form"), "outerHTML")


def _invalid(
    request: Request, page: str, form: forms.Form, context: dict[str, Any], *, part: str = "provider"
) -> HttpResponse:
    """Show the form with its errors, or the errors in the review panel if that is open."""
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
        "key": key_sentence(provider),
        "key_problem": problem_of(provider),
        "unencrypted": unencrypted(provider),
        "seen": provider.changed_revision,
        "row": queries.one(provider),
        "learned": learned(provider),
    }


def _ids(posted: list[str]) -> list[int]:
    return [number for item in posted if (number := whole_number(item)) is not None]
