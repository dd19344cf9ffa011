"""What the pages that change the safety filter have in common: the panel's last step, and its warnings."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.urls import reverse

from promptops import guards
from promptops.actions import safety as actions
from promptops.actions.errors import Refused, Stale
from promptops.actions.safety import Term
from promptops.engine.safety.guard import SafetyGuard, SafetyPolicy
from promptops.enums import SafetyTermKind
from promptops.models import SafetyModelVersion
from promptops.web import review
from promptops.web.access import actor
from promptops.web.request import Request


def release(
    request: Request, wanted: actions.SafetyChange, expected: int, page: str, asked: dict[str, Any], undo: str = ""
) -> HttpResponse:
    """Release the change and go to `page`, or show the panel again with why not. `undo` says how to take it back."""
    try:
        done = actions.change_safety(wanted, by=actor(request), expected=expected, note=review.note(request))
    except (Refused, Stale, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return refused(request, sentence, asked)
    was = "; ".join(f"{change.label}: {change.before}" for change in asked.get("changes", []))
    undo = undo or f"To undo, make the filter of an earlier release live again on the Safety page (was: {was})."
    return review.done(request, reverse(page), f"r{done.changed_revision} is live. {undo}")


def refused(request: Request, error: str, asked: dict[str, Any]) -> HttpResponse:
    """The panel with why not. Pressing its button again would not help, so it has none, and nothing to note."""
    asked = asked | {"template": "_review_refused.html", "without_note": True, "affected": "", "warning": ""}
    return review.panel(request, error=error, **asked)


def change_to(told: dict[str, Any]) -> actions.SafetyChange | None:
    """The change that makes the filter what a release told of it; None when its model is gone."""
    model = SafetyModelVersion.objects.filter(number=told["model"]).defer("data").first()
    if model is None:
        return None
    own = model.manifest.get("thresholds", {})
    thresholds = {name.removesuffix("_from"): value for name, value in told.items() if name.endswith("_from")}
    terms = [Term(kind, line) for kind in SafetyTermKind for line in told.get(f"{kind}_terms", "").splitlines()]
    return actions.SafetyChange(
        mode=told["mode"],
        when_down=told["when_down"],
        when_language=told["when_language"],
        # Releases used to tell four digits.
        thresholds={name: value for name, value in thresholds.items() if not _same(own.get(name), value)},
        terms=tuple(_read(term) for term in terms),
        model=model,
    )


def _same(own: float | None, told: float) -> bool:
    return own is not None and told in (round(own, 4), round(own, 6))


def _read(told: Term) -> Term:
    """A term as it was told: the category of one that is denied stands in brackets at the end."""
    if told.kind != SafetyTermKind.DENY:
        return told
    text, _, category = told.text.rpartition(" (")
    return Term(told.kind, text, category.removesuffix(")"))


def self_test(model: SafetyModelVersion, policy: SafetyPolicy) -> str:
    """What the filter gets wrong with this model and policy, as a warning; "" when nothing."""
    problems = SafetyGuard(guards.model_of(model), policy).self_test()
    return f"With this the filter fails its self-test: {'. '.join(problems)}." if problems else ""


def errors(form: Any) -> str:
    """The messages of a form in one sentence after the other."""
    return " ".join(message for messages in form.errors.values() for message in messages)


def runs(count: int) -> str:
    """ "1 run", "900 runs"."""
    return f"{count:,} run{'' if count == 1 else 's'}"
