"""The changes of a template that the review panel shows and applies, and their settings in words.

Publishing is in `views.publishing`: its panel belongs to the editor, which merges when another version went live first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from promptops.ledger.audit import Actor
from promptops.prompts.actions import handover, releases
from promptops.prompts.actions import templates as actions
from promptops.prompts.checks import failures
from promptops.prompts.content import Content, differences
from promptops.prompts.models import ReleaseRequest, Template, Version
from promptops.prompts.queries.handover import Arrival
from promptops.prompts.release_checks import release_checks
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange


@dataclass
class TemplateChange(ReviewedChange):
    """A change of a template whose result its Details page shows."""

    is_pinned = True
    template_row: Template

    @property
    def page(self) -> str:
        return reverse("template_details", args=[self.template_row.name])


@dataclass
class MakeDefault(TemplateChange):
    """Making the template the default of its operation, instead of `default`."""

    default: Template | None
    form_id = "make-default"

    @property
    def title(self) -> str:
        return f"Make {self.template_row.name} the default for {self.template_row.operation}?"

    @property
    def confirm(self) -> str:
        return f"Make {self.template_row.name} the default"

    def changes(self) -> list[Change]:
        label = f"Default for {self.template_row.operation}"
        return [Change(label, self.default.name if self.default else "none", self.template_row.name)]

    def apply(self, *, by: Actor, note: str) -> None:
        actions.make_default(self.template_row, by=by, note=note)

    def result(self) -> str:
        return f"{self.template_row.name} is now the default for {self.template_row.operation}."


@dataclass
class Archive(TemplateChange):
    """Archiving the template."""

    form_id = "archive"

    @property
    def title(self) -> str:
        return f"Archive {self.template_row.name}?"

    @property
    def confirm(self) -> str:
        return f"Archive {self.template_row.name}"

    def changes(self) -> list[Change]:
        changes = [Change("State", "in use", "archived (versions and runs are kept)")]
        if self.template_row.is_default:  # the last template of an operation that is not built in
            label = f"Default for {self.template_row.operation}"
            changes.append(Change(label, self.template_row.name, "none: nothing answers this operation"))
        return changes

    def apply(self, *, by: Actor, note: str) -> None:
        actions.archive(self.template_row, by=by, note=note)

    def result(self) -> str:
        return f"{self.template_row.name} is archived."

    def undo(self) -> str:
        return "To undo, restore it here."


@dataclass
class Restore(TemplateChange):
    """Restoring the template from the archive."""

    form_id = "restore"

    @property
    def title(self) -> str:
        return f"Restore {self.template_row.name}?"

    @property
    def confirm(self) -> str:
        return f"Restore {self.template_row.name}"

    def changes(self) -> list[Change]:
        return [Change("State", "archived", "in use")]

    def apply(self, *, by: Actor, note: str) -> None:
        actions.restore(self.template_row, by=by, note=note)

    def result(self) -> str:
        return f"{self.template_row.name} is restored."


@dataclass
class RollBackVersion(TemplateChange):
    """Rolling back to an older version. `expected` is the id of the version that the page showed as live."""

    version: Version
    expected: int | None
    template = "prompts/_roll_back.html"

    def __post_init__(self) -> None:
        # Of the panel's own form, because open pages change. The note of one version is none of another.
        self.form_id = f"roll-back-{self.version.number}"

    @property
    def title(self) -> str:
        return f"Roll back {self.template_row.name} to v{self.version.number}?"

    @property
    def confirm(self) -> str:
        return f"Roll back to v{self.version.number}"

    def changes(self) -> list[Change]:
        live = self.template_row.live_version
        changes = [Change("Live version", f"v{live.number}" if live else "none", f"v{self.version.number}")]
        return changes + (setting_changes(live.content, self.version.content) if live else [])

    def texts(self) -> tuple[str | None, str | None]:
        live = self.template_row.live_version
        return live.body if live else "", self.version.body

    def details(self) -> dict[str, Any]:
        checks = release_checks(self.version, self.template_row.operation)
        return {
            "checks": checks,
            "failed": bool(failures(checks)),
            "action": reverse("version_live", args=[self.template_row.name, self.version.number]),
            "values": [("expected", "" if self.expected is None else self.expected)],
        }

    def apply(self, *, by: Actor, note: str) -> None:
        releases.roll_back(self.version, by=by, expected=self.expected, note=note)

    def finish(self, request: Request) -> HttpResponse:
        """Lead to the editor, which shows what is live."""
        page = reverse("template", args=[self.template_row.name])
        return HttpResponseClientRedirect(f"{page}?published={self.version.number}")


@dataclass
class PublishRequest(ReviewedChange):
    """Publishing what somebody asked for. `expected` and `edition` are those that the releaser's page showed."""

    request: ReleaseRequest
    number: int
    expected: int | None
    edition: int | None
    form_id = "publish-request"
    template = "prompts/_roll_back.html"
    is_pinned = True

    def __post_init__(self) -> None:
        self.arrival = Arrival(self.request)

    @property
    def title(self) -> str:
        return f"Publish {self.request.template.name} v{self.number}, as {self.request.user.name} asked?"

    @property
    def confirm(self) -> str:
        return f"Publish v{self.number}"

    def changes(self) -> list[Change]:
        live, content = self.request.template.live_version, self.arrival.content
        return setting_changes(live.content if live else {}, content) if content else []

    def texts(self) -> tuple[str | None, str | None]:
        live, content = self.request.template.live_version, self.arrival.content
        return (live.body if live else "", content["body"]) if content else (None, None)

    def details(self) -> dict[str, Any]:
        live, content = self.request.template.live_version, self.arrival.content
        checks = release_checks(Content(**content), self.request.template.operation) if content else []
        return {
            "checks": checks,
            "failed": bool(failures(checks)),
            "action": reverse("release_request_publish", args=[self.request.pk]),
            "values": [("expected", live.pk if live else ""), ("edition", self.request.edition)],
        }

    def refusal(self) -> str:
        return self.arrival.refusal if self.request.is_open and self.arrival.content is None else ""

    def apply(self, *, by: Actor, note: str) -> None:
        handover.publish_request(self.request, by=by, edition=self.edition, expected=self.expected, note=note)

    def finish(self, request: Request) -> HttpResponse:
        """Lead to the template, which shows what is live and offers to undo it."""
        page = reverse("template", args=[self.request.template.name])
        return HttpResponseClientRedirect(f"{page}?published={self.number}")


def settings_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the generation settings of two contents, in words."""
    return [Change(*difference, is_text=difference.is_text) for difference in differences(before, after)]


def setting_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the generation settings that differ between two contents, in words."""
    return [change for change in settings_of(before, after) if change.before != change.after]
