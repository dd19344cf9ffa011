"""Templates and drafts. Texts go live through `actions.releases`."""

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
from promptops.prompts.actions._texts import check_text
from promptops.prompts.content import SETTINGS, Content
from promptops.prompts.errors import StaleDraft
from promptops.prompts.models import DiscardedDraft, Draft, Template, Version

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
        when="a template came back from the archive",
        object="template",
    ),
)

RESERVED_NAMES = {"new"}  # /prompts/new/ is the page that makes a template


@transaction.atomic
def create_template(name: str, operation: str, *, by: Actor, description: str = "") -> Template:
    """A new template without a version; the first template of an operation is its default.

    Raises ValidationError for a name that is taken or cannot be used.
    """
    # Locked as a release would be, so that of two who choose the same name one is told.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    if name.strip() in RESERVED_NAMES:
        raise ValidationError({"name": "That name is part of an address here. Choose another name."})
    default_exists = Template.objects.filter(operation=operation, is_default=True).exists()
    template = Template(
        name=name.strip(), operation=operation, description=description.strip(), is_default=not default_exists
    )
    template.full_clean()
    template.save()
    audit.record("template.created", by=by, object=template, after=_told(template))
    return template


@transaction.atomic
def describe(template: Template, description: str, *, by: Actor) -> Template:
    """Change what the template says it is for."""
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
    """Let the template serve its operation from now on. It must have a live version and not be archived."""
    revision = next_revision()
    template = Template.objects.get(pk=template.pk)
    if template.archived_at:
        raise Refused(f"{template.name} is archived. Restore it first.")
    if not template.live_version_id:
        raise Refused(f"{template.name} has nothing live yet. Publish a version first.")
    if template.is_default:
        raise Refused(f"{template.name} is the default for {template.operation} already.")
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
    """Take the template out of the live configuration and off the lists; nothing is deleted. Not for a default."""
    revision = next_revision()
    template = Template.objects.get(pk=template.pk)
    if template.is_default:
        raise Refused(
            f"{template.name} is the default for {template.operation}. Make another template the default first."
        )
    if not Template.objects.filter(pk=template.pk, archived_at=None).update(archived_at=timezone.now()):
        raise Stale(f"{template.name} is archived already.")
    record_release(
        revision,
        "template.archived",
        by=by,
        object=template,
        before=_told(template),
        note=note.strip(),
        template=template,
    )
    template.refresh_from_db()
    return template


@transaction.atomic
def restore(template: Template, *, by: Actor, note: str = "") -> Template:
    """Bring an archived template back as it was. ChecksFailed when its live text uses a variable that is gone."""
    revision = next_revision()
    if not Template.objects.filter(pk=template.pk, archived_at__isnull=False).update(archived_at=None):
        raise Stale(f"{template.name} is not archived.")
    template = Template.objects.select_related("live_version").get(pk=template.pk)
    if template.live_version:
        check_text(template.live_version, template.operation)
    record_release(
        revision,
        "template.restored",
        by=by,
        object=template,
        after=_told(template),
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
    """Keep one person's work on a template; no version and no audit entry is made.

    `base` is the id of the version that the work started from. A draft may be unfinished, so blank text is kept; only
    what cannot be stored is refused (ValidationError). A draft equal to its base is none: it is dropped, and None is
    returned; but not while it keeps what it was before a merge.

    `page` names the open page that saves, and `seen` is the `state` of the draft that it was filled from ("" for
    none): when another page has saved another text since, StaleDraft is raised, or with `overwrite` that text is set
    aside first. Without `page` nothing is compared.
    """
    body = content.body.replace("\r\n", "\n")
    if "\x00" in body:
        raise ValidationError("The text holds a NUL character. Remove it; it cannot be stored.")
    if len(body.encode(errors="replace")) > 4 * MAX_BODY_BYTES:
        raise ValidationError("The text is more than four times as long as a prompt may be. Shorten it to keep it.")
    version = Version.objects.filter(pk=base, template=template).first() if base else None
    # Locked, so that two saves at once do not both make the draft.
    User.objects.select_for_update().get(pk=user.pk)
    draft = Draft.objects.filter(template=template, user=user).first() or Draft(template=template, user=user)
    elsewhere = page and draft.pk and draft.page != page and draft.state != seen
    if elsewhere and (draft.body, _settings(draft)) != (body, _settings(content)):
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
    """Set one person's draft of the template aside, if there is one; `restore_draft` puts it back."""
    User.objects.select_for_update().get(pk=user.pk)
    draft = Draft.objects.filter(template=template, user=user).first()
    if draft is None:
        return None
    kept = _set_aside(draft)
    draft.delete()
    return kept


@transaction.atomic
def set_aside(template: Template, content: Content, *, user: User, base: int | None) -> DiscardedDraft | None:
    """Keep a text that a person gives up for the draft that another page of theirs has saved.

    None when it is that draft's, or that of its base: nothing is given up then.
    """
    User.objects.select_for_update().get(pk=user.pk)
    draft = Draft.objects.filter(template=template, user=user).first()
    save_draft(template, content, user=user, base=base)
    kept = discard_draft(template, user=user)
    if draft:
        draft.save(force_insert=True)
    return kept


@transaction.atomic
def restore_draft(template: Template, kept: int, *, user: User) -> DiscardedDraft | None:
    """Put the discarded draft with this id back. A draft that is there by now is set aside for it and returned, so
    that putting that one back undoes this. Raises Stale when it is no longer among the discarded ones."""
    User.objects.select_for_update().get(pk=user.pk)
    found = DiscardedDraft.objects.select_related("base").filter(pk=kept, template=template, user=user).first()
    if found is None:
        raise Stale(
            "That discarded draft is not there any more: it was put back already, or newer ones took its place."
        )
    restored = Draft(template=template, user=user, base=found.base, **found.content)
    found.delete()
    replaced = discard_draft(template, user=user)
    restored.save()
    return replaced


def _set_aside(draft: Draft) -> DiscardedDraft:
    """Keep the draft as the newest of the discarded ones, each text once; the oldest goes when there are too many."""
    others = DiscardedDraft.objects.filter(template=draft.template, user=draft.user)
    others.filter(base=draft.base, **draft.content).delete()
    kept = DiscardedDraft.objects.create(template=draft.template, user=draft.user, base=draft.base, **draft.content)
    others.exclude(pk__in=list(others.values_list("pk", flat=True)[: DiscardedDraft.KEPT])).delete()
    return kept


def _settings(content: Content | Draft) -> dict[str, object]:
    return {name: setting.cleaned(getattr(content, name)) for name, setting in SETTINGS.items()}


def _told(template: Template) -> dict[str, object]:
    return {"name": template.name, "operation": template.operation, "description": template.description}
