"""Making a version live: publishing a new one, or rolling back to an older one. Drafts are in `templates`."""

from typing import Any

from django.db import transaction
from django.db.models import Max
from django.urls import reverse

from promptops.ledger import registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from promptops.ledger.registry import Action
from promptops.ledger.releases import Reason, next_revision, record_release
from promptops.people.models import User
from promptops.prompts.actions._texts import check_text
from promptops.prompts.content import SETTINGS, Content
from promptops.prompts.errors import StaleRelease
from promptops.prompts.models import Draft, ReleaseRequest, Template, Version


def _url(entry: AuditEntry) -> str:
    """Return the address of the version that went live, or of the template if the entry names no version."""
    number = entry.after.get("version") if isinstance(entry.after, dict) else None
    return (
        reverse("version", args=[entry.object_name, number])
        if number
        else reverse("template", args=[entry.object_name])
    )


registry.noun("template", "Templates")
registry.object_kind("template", "Template", url=_url)
registry.value_labels({name: setting.label for name, setting in SETTINGS.items()})
registry.register(
    Action(
        "template.published",
        "{actor} published {object} v{after[version]}",
        when="a new version of a template went live",
        object="template",
        makes_version_live=True,
    ),
    Action(
        "template.published_on_request",
        "{actor} published {object} v{after[version]}, as {after[asked_by]} asked",
        when="a releaser published the text of a request; the entry names the person who asked",
        object="template",
        makes_version_live=True,
    ),
    Action(
        "template.rolled_back",
        "{actor} rolled back {object} to v{after[version]}",
        when="a template was rolled back to an older version",
        object="template",
        makes_version_live=True,
    ),
)


@transaction.atomic
def publish(
    template: Template,
    content: Content,
    *,
    by: Actor,
    expected: int | None,
    note: str = "",
    because: Reason | None = None,
    request: ReleaseRequest | None = None,
) -> Version:
    """Publish `content` as the template's next version, live at commit, and delete the author's draft if it is equal.

    `expected` is the id of the version that the text started from (None: nothing was live). With `request`, the person
    who asked is the author. Raises StaleRelease when another version is live now, Refused when nothing changed or the
    template is archived, ChecksFailed when the text fails a check, ValidationError when the text or a setting is
    invalid.
    """
    content = content.cleaned()
    revision = next_revision()
    template = Template.objects.select_related("live_version").get(pk=template.pk)
    live = template.live_version
    _check_open(template)
    if (live.pk if live else None) != expected:
        raise StaleRelease(live)
    version = Version(
        template=template,
        number=(template.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1,
        note=note.strip(),
        author=request.user if request else by.user,
        author_name=request.user.name if request else by.name,
        **vars(content),
    )
    if live and version.content == live.content:
        raise Refused(f"No changes to publish: v{live.number}, which is live, has the same text and settings.")
    check_text(version, template.operation)
    version.full_clean()
    version.save()
    _point(template, live, version)
    if version.author:
        _finish_draft(template, version.author, (request or version).content)
    record_release(
        revision,
        "template.published_on_request" if request else "template.published",
        by=by,
        object=template,
        before=_audit_values(live),
        after=_audit_values(version, asked_by=request.user if request else None),
        note=version.note,
        template=template,
        version=version,
        replaced=live,
        because=because,
    )
    return version


@transaction.atomic
def roll_back(
    version: Version, *, by: Actor, expected: int | None, note: str = "", because: Reason | None = None
) -> Version:
    """Roll back to an existing version; no new version is made. Raises the errors of `publish`."""
    revision = next_revision()
    template = Template.objects.select_related("live_version").get(pk=version.template_id)
    live = template.live_version
    _check_open(template)
    if (live.pk if live else None) != expected:
        raise StaleRelease(live)
    if live and live.pk == version.pk:
        raise Refused(f"v{version.number} is already live.")
    check_text(version, template.operation)
    _point(template, live, version)
    record_release(
        revision,
        "template.rolled_back",
        by=by,
        object=template,
        before=_audit_values(live),
        after=_audit_values(version),
        note=note.strip(),
        template=template,
        version=version,
        replaced=live,
        because=because,
    )
    return version


def _finish_draft(template: Template, user: User, content: dict[str, Any]) -> None:
    """Delete the author's draft if it has the content that went live. A different draft, from another page, stays."""
    draft = Draft.objects.filter(template=template, user=user).first()
    if draft and {**draft.content, "body": draft.body.strip()} == content:
        draft.delete()


def _check_open(template: Template) -> None:
    if template.archived_at:
        raise Refused(f"{template.name} is archived. Restore it first.")


def _point(template: Template, live: Version | None, version: Version) -> None:
    """Point the template to `version` if `live` is still its live version, else raise StaleRelease."""
    moved = Template.objects.filter(pk=template.pk, live_version=live).update(live_version=version)
    if not moved:
        raise StaleRelease(Version.objects.filter(template=template).first())


def _audit_values(version: Version | None, asked_by: User | None = None) -> dict[str, Any] | None:
    if version is None:
        return None
    values = {"version": version.number, **version.content, "sha256": version.sha256}
    return {**values, "asked_by": asked_by.name} if asked_by else values
