"""What the pages that change the safety filter have in common: the base of their changes, and their warnings."""

from typing import Any

from django.http import HttpResponse

from promptops.engine.safety.guard import SafetyGuard, SafetyPolicy
from promptops.safety import guards
from promptops.safety.models import SafetyModelVersion
from promptops.web import review
from promptops.web.request import Request
from promptops.web.review import ReviewedChange


class FilterChange(ReviewedChange):
    """A change of the safety filter. The panel of a refused one has no button: to press it again would not help."""

    revision = 0
    """What `apply` released."""

    def refused(self, request: Request, error: str) -> HttpResponse:
        return refused(request, error, self.shown())

    def result(self) -> str:
        return f"r{self.revision} is live."


def refused(request: Request, error: str, asked: dict[str, Any]) -> HttpResponse:
    """The panel with why not. Pressing its button again would not help, so it has none, and nothing to note."""
    asked = asked | {"template": "_review_refused.html", "without_note": True, "affected": "", "warning": ""}
    return review.panel(request, error=error, **asked)


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
