"""The operators' terms of the safety filter: what each hits, adding and removing them as releases."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops import guards
from promptops.actions import safety as actions
from promptops.actions.safety import Term
from promptops.engine.safety.guard import SafetyGuard
from promptops.enums import Permission, SafetyTermKind
from promptops.models import SafetySettings, SafetyTerm
from promptops.queries import safety as queries
from promptops.queries import safety_replay
from promptops.text import whole_number
from promptops.web import review, safety_releases
from promptops.web.access import refused, requires
from promptops.web.forms_safety import TermsForm
from promptops.web.request import Request
from promptops.web.seen import changed


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """The terms; a POST reviews and releases new ones."""
    config = queries.set_now()
    if "seen" in request.GET:
        return changed(request, "the safety filter", config.changed_revision)
    if request.method == "POST":
        return _add(request, config)
    terms = queries.terms()
    context = {
        "config": config,
        "form": TermsForm(initial={"kind": SafetyTermKind.DENY}),
        "seen": config.changed_revision,
        "lists": [(kind, [term for term in terms if term.kind == kind]) for kind in reversed(SafetyTermKind)],
    }
    return render(request, "safety/terms.html", context)


@requires(Permission.RELEASE)
@require_POST
def preview(request: Request) -> HttpResponse:
    """What the terms in the form would hit in past runs. For releasers: it tells whether masked texts hold a word."""
    form = TermsForm(request.POST)
    if not request.POST.get("terms", "").strip():
        return render(request, "safety/_hits.html", {"blank": True})
    if not form.is_valid():
        return render(request, "safety/_hits.html", {"error": safety_releases.errors(form)})
    kept = queries.terms()
    try:
        new = _cleaned(kept, form.new)
    except ValidationError as error:
        return render(request, "safety/_hits.html", {"error": " ".join(error.messages)})
    goes_on = "score" in request.POST
    budget = safety_replay.LONG_BUDGET_SECONDS if goes_on else safety_replay.BUDGET_SECONDS
    hits = _hits(queries.set_now(), kept, new, [term.text for term in form.new], budget)
    return render(request, "safety/_hits.html", {"hits": hits})


@requires(Permission.RELEASE)
@require_POST
def remove(request: Request) -> HttpResponse:
    """Review and release one term less."""
    kind, text = request.POST.get("kind", ""), request.POST.get("text", "")
    config, kept = queries.set_now(), queries.terms()
    left = [term for term in kept if (term.kind, term.text) != (kind, text)]
    expected = request.POST.get("expected", "")
    asked: dict[str, Any] = {
        "title": "Remove a term",
        "confirm": "Remove it",
        "form_id": "remove-term",
        "old": _told(kept),
        "new": _told(left),
        "template": "_review_form.html",
        "action": reverse("safety_term_remove"),
        "values": [("kind", kind), ("text", text), ("expected", expected)],
    }
    if len(left) == len(kept):
        return safety_releases.refused(request, "This term is not there any more. Reload the page.", asked)
    if not review.confirmed(request):
        found = _hits(config, kept, left, [text])
        return review.panel(
            request,
            affected=f"It hits {_of(found)}. {review.AFFECTED}",
            warning=safety_releases.self_test(config.model, guards.policy_of(config, left)),
            **asked,
        )
    return _release(request, left, expected, asked, f'To undo, add "{text}" again.')


def _add(request: Request, config: SafetySettings) -> HttpResponse:
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    form, kept = TermsForm(request.POST), queries.terms()
    asked: dict[str, Any] = {"title": "Add terms", "confirm": "Release", "form_id": "term-form"}
    if not form.is_valid():
        return safety_releases.refused(request, safety_releases.errors(form), asked)
    try:
        new = _cleaned(kept, form.new)
    except ValidationError as error:
        return safety_releases.refused(request, " ".join(error.messages), asked)
    asked |= {"old": _told(kept), "new": _told(new)}
    if not review.confirmed(request):
        found = _hits(config, kept, new, [term.text for term in form.new])
        return review.panel(
            request,
            affected=f"They hit {_of(found)}. {review.AFFECTED}",
            warning=safety_releases.self_test(config.model, guards.policy_of(config, new)),
            template="_review_warning.html",
            **asked,
        )
    return _release(request, new, request.POST.get("expected", ""), asked, "To undo, remove what you added.")


def _cleaned(kept: list[SafetyTerm], new: list[Term]) -> list[SafetyTerm]:
    """All terms together as they would be kept; ValidationError says what is wrong with the new ones."""
    there = {(term.kind, term.text) for term in kept}
    for number, term in enumerate(new):
        text = " ".join(term.text.split())
        if (term.kind, text) in there:
            raise ValidationError(f"The term {text!r} is there already.")
        there.add((term.kind, text))
        if number >= actions.MAX_TERMS:
            break
    return actions.clean_terms((*_given(kept), *new))


def _given(terms: list[SafetyTerm]) -> tuple[Term, ...]:
    return tuple(Term(term.kind, term.text, term.category) for term in terms)


def _hits(
    config: SafetySettings,
    before: list[SafetyTerm],
    after: list[SafetyTerm],
    texts: list[str],
    budget: float = safety_replay.LONG_BUDGET_SECONDS,
) -> safety_replay.Hits:
    model = guards.model_of(config.model)
    guard = {name: SafetyGuard(model, guards.policy_of(config, terms)) for name, terms in (("b", before), ("a", after))}
    return safety_replay.hits(texts, guard["b"], guard["a"], budget)


def _of(hits: safety_replay.Hits) -> str:
    read = f" that were read so far ({hits.waiting:,} are not)" if hits.waiting else ""
    return f"{hits.count:,} of the newest {safety_releases.runs(hits.runs - hits.waiting)}{read}"


def _told(terms: list[SafetyTerm]) -> str:
    """The terms one a line, for the difference."""
    ordered = sorted(terms, key=lambda term: (term.kind != SafetyTermKind.DENY, term.text))
    return "\n".join(f"{term.kind}: {term}" for term in ordered)


def _release(
    request: Request, terms: list[SafetyTerm], expected: str, asked: dict[str, Any], undo: str
) -> HttpResponse:
    wanted = actions.SafetyChange(terms=_given(terms))
    seen = whole_number(expected)
    return safety_releases.release(request, wanted, -1 if seen is None else seen, "safety_terms", asked, undo)
