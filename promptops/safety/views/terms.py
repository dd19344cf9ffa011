"""The operators' terms of the safety filter: what each hits, adding and removing them as releases."""

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
from promptops.safety import changes as safety_releases
from promptops.safety import guards
from promptops.safety.actions import safety as actions
from promptops.safety.actions.safety import Term
from promptops.safety.changes import FilterChange
from promptops.safety.enums import SafetyTermKind
from promptops.safety.forms import TermsForm
from promptops.safety.models import SafetySettings, SafetyTerm
from promptops.safety.queries import replay as safety_replay
from promptops.safety.queries import safety as queries
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import refused, requires
from promptops.web.request import Request
from promptops.web.seen import changed


@dataclass
class RemoveTerm(FilterChange):
    """One term less."""

    config: SafetySettings
    before: list[SafetyTerm]
    kind: str
    text: str
    expected: str
    title = "Remove a term"
    confirm = "Remove it"
    form_id = "remove-term"
    template = "_review_form.html"

    @property
    def page(self) -> str:
        return reverse("safety_terms")

    @property
    def after(self) -> list[SafetyTerm]:
        return [term for term in self.before if (term.kind, term.text) != (self.kind, self.text)]

    def texts(self) -> tuple[str | None, str | None]:
        return _told(self.before), _told(self.after)

    def details(self) -> dict[str, Any]:
        values = [("kind", self.kind), ("text", self.text), ("expected", self.expected)]
        return {"action": reverse("safety_term_remove"), "values": values}

    def preview(self) -> dict[str, Any]:
        found = _hits(self.config, self.before, self.after, [self.text])
        warning = safety_releases.self_test(self.config.model, guards.policy_of(self.config, self.after))
        return {"affected": f"It hits {_of(found)}. {review.AFFECTED}", "warning": warning}

    def refusal(self) -> str:
        is_gone = len(self.after) == len(self.before)
        return "This term is not there any more. Reload the page." if is_gone else ""

    def apply(self, *, by: Actor, note: str) -> None:
        self.revision = _released(self.after, self.expected, by=by, note=note)

    def undo(self) -> str:
        return f'To undo, add "{self.text}" again.'


@dataclass
class AddTerms(FilterChange):
    """More terms; `after` are all of them."""

    config: SafetySettings
    before: list[SafetyTerm]
    after: list[SafetyTerm]
    added: list[str]
    expected: str
    title = "Add terms"
    confirm = "Release"
    form_id = "term-form"

    @property
    def page(self) -> str:
        return reverse("safety_terms")

    def texts(self) -> tuple[str | None, str | None]:
        return _told(self.before), _told(self.after)

    def preview(self) -> dict[str, Any]:
        found = _hits(self.config, self.before, self.after, self.added)
        return {
            "affected": f"They hit {_of(found)}. {review.AFFECTED}",
            "warning": safety_releases.self_test(self.config.model, guards.policy_of(self.config, self.after)),
            "template": "_review_warning.html",
        }

    def apply(self, *, by: Actor, note: str) -> None:
        self.revision = _released(self.after, self.expected, by=by, note=note)

    def undo(self) -> str:
        return "To undo, remove what you added."


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
    given = (request.POST.get(name, "") for name in ("kind", "text", "expected"))
    return review.run(request, RemoveTerm(queries.set_now(), queries.terms(), *given))


def _add(request: Request, config: SafetySettings) -> HttpResponse:
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    form, kept = TermsForm(request.POST), queries.terms()
    asked = {"title": AddTerms.title, "confirm": "Release", "form_id": AddTerms.form_id}
    if not form.is_valid():
        return safety_releases.refused(request, safety_releases.errors(form), asked)
    try:
        new = _cleaned(kept, form.new)
    except ValidationError as error:
        return safety_releases.refused(request, " ".join(error.messages), asked)
    texts = [term.text for term in form.new]
    return review.run(request, AddTerms(config, kept, new, texts, request.POST.get("expected", "")))


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


def _released(terms: list[SafetyTerm], expected: str, *, by: Actor, note: str) -> int:
    """Release the terms; return the revision."""
    seen = whole_number(expected)
    wanted = actions.SafetyChange(terms=_given(terms))
    return actions.change_safety(wanted, by=by, expected=-1 if seen is None else seen, note=note).changed_revision
