"""Drafts: saving, discarding and restoring one person's unpublished text of a template.

Merging a draft with a newer version belongs to merges.py, publishing it to releases.py.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from promptops.ledger.errors import Stale
from promptops.people.models import User
from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts.content import SETTINGS, Content
from promptops.prompts.errors import StaleDraft
from promptops.prompts.models import DiscardedDraft, Draft, Template, Version


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
