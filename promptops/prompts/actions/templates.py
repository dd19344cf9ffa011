"""Templates and drafts. Publishing is in `releases`, merging in `merges`."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.people.models import User
from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts.actions._operations import check_operation
from promptops.prompts.actions._texts import check_text
from promptops.prompts.content import SETTINGS, Content
from promptops.prompts.errors import StaleDraft
from promptops.prompts.models import DiscardedDraft, Draft, Template, Version
from promptops.prompts.queries import templates

registry.register(
    Action(
        "template.created",
        "{actor} created the template {object} for {after[operation]}",
        when="a template was created",
        object="template",
    ),
    Action(
        "template.described",
        "{actor} changed the description of {object}",
        when="the description of a template changed",
        object="template",
    ),
    Action(
        "template.made_default",
        "{actor} made {object} the default for {after[operation]}",
        when="a template became the default of its operation",
        object="template",
    ),
    Action("template.archived", "{actor} archived {object}", when="a template was archived", object="template"),
    Action(
        "template.restored",
        "{actor} restored {object} from the archive",
        when="a template was restored from the archive",
        object="template",
    ),
)

RESERVED_NAMES = {"new"}  # /prompts/new/ is the page that creates a template


@transaction.atomic
def create_template(name: str, operation: str, *, by: Actor, description: str = "") -> Template:
    """Create a template without a version. The first template of an operation is its default.

    Raises ValidationError for a name that is taken or invalid, and for an unknown or archived operation.
    """
    # Locked like a release, so that one of two people who choose the same name gets an error message.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    if name.strip() in RESERVED_NAMES:
        raise ValidationError({"name": "This name is reserved for an address. Choose another name."})
    check_operation(operation)
    default_exists = Template.objects.filter(operation=operation, is_default=True).exists()
    template = Template(
        name=name.strip(), operation=operation, description=description.strip(), is_default=not default_exists
    )
    template.full_clean()
    template.save()
    audit.record("template.created", by=by, object=template, after=_audit_values(template))
    return template


@transaction.atomic
def describe(template: Template, description: str, *, by: Actor) -> Template:
    """Change the description of the template."""
    before = {"description": template.description}
    template.description = description.strip()
    template.full_clean()
    template.save(update_fields=["description"])
    audit.record(
        "template.described", by=by, object=template, before=before, after={"description": template.description}
    )
    return template


@transaction.atomic
def make_default(template: Template, *, by: Actor, note: str = "") -> Template:
    """Make the template the default of its operation. It must have a live version and must not be archived."""
    revision = next_revision()
    template = Template.objects.get(pk=template.pk)
    if template.archived_at:
        raise Refused(f"{template.name} is archived. Restore it first.")
    if not template.live_version_id:
        raise Refused(f"{template.name} has no live version. Publish one first.")
    if template.is_default:
        raise Refused(f"{template.name} is already the default for {template.operation}.")
    previous = Template.objects.filter(operation=template.operation, is_default=True).first()
    Template.objects.filter(operation=template.operation, is_default=True).update(is_default=False)
    Template.objects.filter(pk=template.pk).update(is_default=True)
    template.is_default = True
    record_release(
        revision,
        "template.made_default",
        by=by,
        object=template,
        before={"operation": template.operation, "default": previous.name if previous else None},
        after={"operation": template.operation, "default": template.name},
        note=note.strip(),
        template=template,
        version=template.live_version,
    )
    return template


@transaction.atomic
def archive(template: Template, *, by: Actor, note: str = "") -> Template:
    """Remove the template from what is live and from the lists; nothing is deleted.

    Refuses a default, except the last template of an operation that is not built in: that is the way to archive the
    operation. Nothing answers the operation from then on.
    """
    revision = next_revision()
    template = Template.objects.get(pk=template.pk)
    if template.is_default and not templates.is_last(template):
        raise Refused(
            f"{template.name} is the default for {template.operation}. Make another template the default first."
        )
    if not Template.objects.filter(pk=template.pk, archived_at=None).update(
        archived_at=timezone.now(), is_default=False
    ):
        raise Stale(f"{template.name} is already archived.")
    record_release(
        revision,
        "template.archived",
        by=by,
        object=template,
        before=_audit_values(template),
        note=note.strip(),
        template=template,
    )
    template.refresh_from_db()
    return template


@transaction.atomic
def restore(template: Template, *, by: Actor, note: str = "") -> Template:
    """Restore an archived template, as the default if its operation has none.

    Raises ChecksFailed when its live text uses a removed variable, and ValidationError for an archived operation.
    """
    revision = next_revision()
    check_operation(template.operation)
    is_default = not Template.objects.filter(operation=template.operation, is_default=True).exists()
    if not Template.objects.filter(pk=template.pk, archived_at__isnull=False).update(
        archived_at=None, is_default=is_default
    ):
        raise Stale(f"{template.name} is not archived.")
    template = Template.objects.select_related("live_version").get(pk=template.pk)
    if template.live_version:
        check_text(template.live_version, template.operation)
    record_release(
        revision,
        "template.restored",
        by=by,
        object=template,
        after=_audit_values(template),
        note=note.strip(),
        template=template,
    )
    return template


@transaction.atomic
def save_draft(
    template: Template,
    content: Content,
    *,
    user: User,
    base: int | None,
    page: str = "",
    seen: str = "",
    overwrite: bool = False,
) -> Draft | None:
    """Save one person's draft of a template; no version and no audit entry is made.

    `base` is the id of the version that the draft started from. A draft may be unfinished, so a blank text is saved.
    Raises ValidationError only for a text that cannot be stored. A draft equal to its base is deleted, and None is
    returned, except while the draft keeps an earlier text from before a merge.

    `page` is the id of the open page that saves, and `seen` the `state` of the draft that the page loaded ("": none).
    When another page has saved another text since then, raises StaleDraft; with `overwrite`, moves that text to the
    discarded drafts instead. Without `page` nothing is compared.
    """
    body = content.body.replace("\r\n", "\n")
    if "\x00" in body:
        raise ValidationError("The text has a NUL character, which cannot be stored. Remove it.")
    if len(body.encode(errors="replace")) > 4 * MAX_BODY_BYTES:
        raise ValidationError(
            "The text is more than four times as long as a prompt may be, so it was not saved. Shorten it."
        )
    version = Version.objects.filter(pk=base, template=template).first() if base else None
    # Locked, so that two saves at the same time do not both create the draft.
    User.objects.select_for_update().get(pk=user.pk)
    draft = Draft.objects.filter(template=template, user=user).first() or Draft(template=template, user=user)
    changed_elsewhere = page and draft.pk and draft.page != page and draft.state != seen
    if changed_elsewhere and (draft.body, _settings(draft)) != (body, _settings(content)):
        if not overwrite:
            raise StaleDraft(draft)
        _set_aside(draft)
    draft.page = page
    draft.base = version
    draft.body = body
    for name, value in _settings(content).items():
        setattr(draft, name, value)
    draft.updated_at = timezone.now()
    if version and {**draft.content, "body": body.strip()} == version.content and not draft.before_merges:
        if draft.pk:
            draft.delete()
        return None
    draft.clean_fields(exclude=["base", "body"])
    draft.save()
    return draft


@transaction.atomic
def discard_draft(template: Template, *, user: User) -> DiscardedDraft | None:
    """Move one person's draft to the discarded drafts, if there is one. `restore_draft` undoes this."""
    User.objects.select_for_update().get(pk=user.pk)
    draft = Draft.objects.filter(template=template, user=user).first()
    if draft is None:
        return None
    discarded = _set_aside(draft)
    draft.delete()
    return discarded


@transaction.atomic
def set_aside(template: Template, content: Content, *, user: User, base: int | None) -> DiscardedDraft | None:
    """Add a text to the discarded drafts, because the person prefers the draft that another page has saved.

    Returns None when the text equals that draft or its base, so that there is nothing to discard.
    """
    User.objects.select_for_update().get(pk=user.pk)
    draft = Draft.objects.filter(template=template, user=user).first()
    save_draft(template, content, user=user, base=base)
    discarded = discard_draft(template, user=user)
    if draft:
        draft.save(force_insert=True)
    return discarded


@transaction.atomic
def restore_draft(template: Template, discarded_id: int, *, user: User) -> DiscardedDraft | None:
    """Restore a discarded draft. Returns the draft that it replaces, which moves to the discarded drafts, or None.

    Restoring the returned one undoes this. Raises Stale when the discarded draft no longer exists.
    """
    User.objects.select_for_update().get(pk=user.pk)
    rows = DiscardedDraft.objects.select_related("base").filter(template=template, user=user)
    discarded = rows.filter(pk=discarded_id).first()
    if discarded is None:
        raise Stale("This discarded draft no longer exists. It was already restored, or newer ones replaced it.")
    restored = Draft(template=template, user=user, base=discarded.base, **discarded.content)
    discarded.delete()
    replaced = discard_draft(template, user=user)
    restored.save()
    return replaced


def _set_aside(draft: Draft) -> DiscardedDraft:
    """Add the draft to the discarded drafts, each text once. Beyond `DiscardedDraft.KEPT` the oldest are deleted."""
    others = DiscardedDraft.objects.filter(template=draft.template, user=draft.user)
    others.filter(base=draft.base, **draft.content).delete()
    discarded = DiscardedDraft.objects.create(
        template=draft.template, user=draft.user, base=draft.base, **draft.content
    )
    others.exclude(pk__in=list(others.values_list("pk", flat=True)[: DiscardedDraft.KEPT])).delete()
    return discarded


def _settings(content: Content | Draft) -> dict[str, object]:
    return {name: setting.cleaned(getattr(content, name)) for name, setting in SETTINGS.items()}


def _audit_values(template: Template) -> dict[str, object]:
    return {"name": template.name, "operation": template.operation, "description": template.description}
