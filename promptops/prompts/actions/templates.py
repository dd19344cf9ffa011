"""Templates: creating, describing, archiving, and the default of an operation.

Drafts belong to drafts.py, publishing to releases.py.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.prompts.actions._operations import check_operation
from promptops.prompts.actions._texts import check_text
from promptops.prompts.models import Template
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


def _audit_values(template: Template) -> dict[str, object]:
    return {"name": template.name, "operation": template.operation, "description": template.description}
