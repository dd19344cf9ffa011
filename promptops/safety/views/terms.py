"""The page of the operators' terms: their matches in past runs, adding and removing them as releases."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.engine.safety.guard import SafetyGuard
from promptops.ledger.audit import Actor
from promptops.people.enums import Permission
from promptops.safety import changes as safety_changes
from promptops.safety import guards
from promptops.safety.actions import filter_settings as actions
from promptops.safety.actions.filter_settings import Term
from promptops.safety.changes import FilterChange
from promptops.safety.enums import SafetyTermKind
from promptops.safety.forms import TermsForm
from promptops.safety.models import SafetySettings, SafetyTerm
from promptops.safety.queries import filter_state, past
from promptops.safety.queries.hits import Hits, hits
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import refused, requires
from promptops.web.request import Request
from promptops.web.seen import changed


@dataclass
class RemoveTerm(FilterChange):
    """Removing one term."""

    config: SafetySettings
    before: list[SafetyTerm]
    kind: str
    text: str
    expected: str
    title = "Remove a term"
    confirm = "Remove the term"
    form_id = "remove-term"
    template = "_review_form.html"

    @property
    def page(self) -> str:
        return reverse("safety_terms")

    @property
    def after(self) -> list[SafetyTerm]:
        return [term for term in self.before if (term.kind, term.text) != (self.kind, self.text)]

    def texts(self) -> tuple[str | None, str | None]:
        return _one_a_line(self.before), _one_a_line(self.after)

    def details(self) -> dict[str, Any]:
        values = [("kind", self.kind), ("text", self.text), ("expected", self.expected)]
        return {"action": reverse("safety_term_remove"), "values": values}

    def preview(self) -> dict[str, Any]:
        matches = _hits(self.config, self.before, self.after, [self.text])
        warning = safety_changes.self_test(self.config.model, guards.policy_of(self.config, self.after))
        return {"affected": f"It matches {_of(matches)}. {review.affected_by_release()}", "warning": warning}

    def refusal(self) -> str:
        is_gone = len(self.after) == len(self.before)
        return "Someone has already removed this term. Reload the page." if is_gone else ""

    def apply(self, *, by: Actor, note: str) -> None:
        self.revision = _released(self.after, self.expected, by=by, note=note)

    def undo(self) -> str:
        return f'To undo, add "{self.text}" again.'


@dataclass
class AddTerms(FilterChange):
    """Adding terms; `after` are all of them."""

    config: SafetySettings
    before: list[SafetyTerm]
    after: list[SafetyTerm]
    added: list[str]
    expected: str
    title = "Add terms"
    confirm = "Release the terms"
    form_id = "term-form"

    @property
    def page(self) -> str:
        return reverse("safety_terms")

    def texts(self) -> tuple[str | None, str | None]:
        return _one_a_line(self.before), _one_a_line(self.after)

    def preview(self) -> dict[str, Any]:
        matches = _hits(self.config, self.before, self.after, self.added)
        return {
            "affected": f"The new terms match {_of(matches)}. {review.affected_by_release()}",
            "warning": safety_changes.self_test(self.config.model, guards.policy_of(self.config, self.after)),
            "template": "_review_warning.html",
        }

    def apply(self, *, by: Actor, note: str) -> None:
        self.revision = _released(self.after, self.expected, by=by, note=note)

    def undo(self) -> str:
        return "To undo, remove the terms that you added."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the terms; a POST reviews and releases new ones."""
    config = filter_state.set_now()
    if "seen" in request.GET:
        return changed(request, "the safety filter", config.changed_revision)
    if request.method == "POST":
        return _add(request, config)
    terms = filter_state.terms()
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
    """Show matches of the form's terms in past runs. Only for releasers: matches reveal words of masked texts."""
    form = TermsForm(request.POST)
    if not request.POST.get("terms", "").strip():
        return render(request, "safety/_hits.html", {"blank": True})
    if not form.is_valid():
        return render(request, "safety/_hits.html", {"error": safety_changes.errors(form)})
    present = filter_state.terms()
    try:
        new = _cleaned(present, form.new)
    except ValidationError as error:
        return render(request, "safety/_hits.html", {"error": " ".join(error.messages)})
    budget = past.LONG_BUDGET_SECONDS if "score" in request.POST else past.BUDGET_SECONDS
    matches = _hits(filter_state.set_now(), present, new, [term.text for term in form.new], budget)
    return render(request, "safety/_hits.html", {"hits": matches})


@requires(Permission.RELEASE)
@require_POST
def remove(request: Request) -> HttpResponse:
    """Review and release the removal of one term."""
    fields = (request.POST.get(name, "") for name in ("kind", "text", "expected"))
    return review.run(request, RemoveTerm(filter_state.set_now(), filter_state.terms(), *fields))


def _add(request: Request, config: SafetySettings) -> HttpResponse:
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    form, present = TermsForm(request.POST), filter_state.terms()
    panel = {"title": AddTerms.title, "confirm": AddTerms.confirm, "form_id": AddTerms.form_id}
    if not form.is_valid():
        return safety_changes.refused(request, safety_changes.errors(form), panel)
    try:
        new = _cleaned(present, form.new)
    except ValidationError as error:
        return safety_changes.refused(request, " ".join(error.messages), panel)
    texts = [term.text for term in form.new]
    return review.run(request, AddTerms(config, present, new, texts, request.POST.get("expected", "")))


def _cleaned(present: list[SafetyTerm], new: list[Term]) -> list[SafetyTerm]:
    """Return all terms together as they would be saved. Raises ValidationError with what is wrong with the new ones."""
    seen = {(term.kind, term.text) for term in present}
    for number, term in enumerate(new):
        text = " ".join(term.text.split())
        if (term.kind, text) in seen:
            raise ValidationError(f"The term {text!r} already exists.")
        seen.add((term.kind, text))
        if number >= actions.MAX_TERMS:
            break
    return actions.clean_terms((*_as_terms(present), *new))


def _as_terms(terms: list[SafetyTerm]) -> tuple[Term, ...]:
    return tuple(Term(term.kind, term.text, term.category) for term in terms)


def _hits(
    config: SafetySettings,
    before: list[SafetyTerm],
    after: list[SafetyTerm],
    texts: list[str],
    budget: float = past.LONG_BUDGET_SECONDS,
) -> Hits:
    model = guards.model_of(config.model)
    without, with_terms = (SafetyGuard(model, guards.policy_of(config, terms)) for terms in (before, after))
    return hits(texts, without, with_terms, budget)


def _of(matches: Hits) -> str:
    so_far = f" read so far ({matches.waiting:,} are still to be read)" if matches.waiting else ""
    return f"{matches.count:,} of the newest {safety_changes.runs(matches.runs - matches.waiting)}{so_far}"


def _one_a_line(terms: list[SafetyTerm]) -> str:
    """Return the terms one a line, for the difference."""
    ordered = sorted(terms, key=lambda term: (term.kind != SafetyTermKind.DENY, term.text))
    return "\n".join(f"{term.kind}: {term}" for term in ordered)


def _released(terms: list[SafetyTerm], expected: str, *, by: Actor, note: str) -> int:
    """Release the terms; return the revision."""
    seen = whole_number(expected)
    wanted = actions.SafetyChange(terms=_as_terms(terms))
    return actions.change_safety(wanted, by=by, expected=-1 if seen is None else seen, note=note).changed_revision
