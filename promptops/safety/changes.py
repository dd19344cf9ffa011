"""The base of all changes of the safety filter that pages review, and the warnings they share.

Each page's own change belongs to its view.
"""

from typing import Any

from django.http import HttpResponse

from promptops.engine.safety.guard import SafetyGuard, SafetyPolicy
from promptops.safety import guards
from promptops.safety.models import SafetyModelVersion
from promptops.web import review
from promptops.web.request import Request
from promptops.web.review import ReviewedChange


class FilterChange(ReviewedChange):
    """A change of the safety filter. The panel of a refused one has no button, because trying again would not help."""

    revision = 0
    """The revision that `apply` released."""

    def refused(self, request: Request, error: str) -> HttpResponse:
        return refused(request, error, self.shown())

    def result(self) -> str:
        return f"r{self.revision} is live."


def refused(request: Request, error: str, panel: dict[str, Any]) -> HttpResponse:
    """Show the panel with the error. It has no button and no note, because trying again would not help."""
    panel = panel | {"template": "_review_refused.html", "without_note": True, "affected": "", "warning": ""}
    return review.panel(request, error=error, **panel)


def self_test(model: SafetyModelVersion, policy: SafetyPolicy) -> str:
    """Return a warning with what the filter would judge wrongly with this model and policy; "" if nothing."""
    problems = SafetyGuard(guards.model_of(model), policy).self_test()
    return f"With this change the filter fails its self-test: {'. '.join(problems)}." if problems else ""


def errors(form: Any) -> str:
    """Return all messages of a form in one text."""
    return " ".join(message for messages in form.errors.values() for message in messages)


def runs(count: int) -> str:
    """Return "1 run" or "900 runs"."""
    return f"{count:,} run{'' if count == 1 else 's'}"
