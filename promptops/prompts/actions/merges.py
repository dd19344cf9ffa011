"""Putting a merge with the live version into a draft, and undoing it. The merge itself is computed in `texts.merge`."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from promptops.ledger.errors import Refused, Stale
from promptops.people.models import User
from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts.content import FIELDS, NOTHING
from promptops.prompts.errors import StaleRelease
from promptops.prompts.models import Draft, Template, Version
from promptops.texts.merge import merge

# At most this many merges of one draft can be undone, one by one.
MAX_KEPT = 20

CHANGED = "Your draft was changed in another window. This is the merge with the changed draft. Choose again."


def take(template: Template, chosen: Mapping[str, str], *, user: User, expected: int | None, seen: str) -> Draft:
    """Merge a person's draft with the live version, and make the live version the base of the draft.

    `chosen` decides the conflicts by name (see `texts.merge.Merge`). `expected` is the id of the live version and
    `seen` the draft's `sha256` for which the choices were made. The draft keeps its earlier content for undoing. No
    version and no audit entry is made. Raises StaleRelease when another version is live now, Stale when the draft has
    changed, Refused while a conflict is not decided or when there is nothing to merge.
    """
    draft = _draft(template, user)
    live = Template.objects.select_related("live_version").get(pk=template.pk).live_version
    if live is None or live.pk != expected:
        raise StaleRelease(live)
    if draft.sha256 != seen:
        raise Stale(CHANGED)
    if draft.base_id == live.pk:
        raise Refused(f"Your draft already starts from v{live.number}, which is live. Publish it as it is.")
    merged = merge(draft.base.content if draft.base else NOTHING, draft.content, live.content)
    if undecided := merged.undecided(chosen):
        raise Refused(f"{len(undecided)} of {len(merged.contested)} conflicts are still open. Choose a text for each.")
    content = merged.content(chosen)
    if len(content["body"].encode(errors="replace")) > 4 * MAX_BODY_BYTES:
        raise Refused("The merged text is more than four times as long as a prompt may be. Choose one side, not both.")
    before = {**draft.content, "base": draft.base_id, "merged_with": live.number}
    return _replace(draft, content, live, [*draft.before_merges, before][-MAX_KEPT:])


def undo(template: Template, *, user: User) -> Draft:
    """Restore a person's draft from before the newest merge. Raises Refused when there is no merge."""
    draft = _draft(template, user)
    if not draft.before_merges:
        raise Refused("There is no merge to undo. Your draft is unchanged.")
    *older, before = draft.before_merges
    base = Version.objects.filter(pk=before["base"], template=template).first()
    return _replace(draft, {field: before.get(field, NOTHING[field]) for field in FIELDS}, base, older)


def _draft(template: Template, user: User) -> Draft:
    draft = Draft.objects.select_related("base").filter(template=template, user=user).first()
    if draft is None:
        raise Refused("You have no draft of this template. Reload the page to see the live text.")
    return draft


def _replace(draft: Draft, content: dict[str, Any], base: Version | None, before_merges: list[Any]) -> Draft:
    """Change the draft. Raises Stale if it was saved after it was read."""
    changed = Draft.objects.filter(pk=draft.pk, updated_at=draft.updated_at).update(
        **content, base=base, before_merges=before_merges, updated_at=timezone.now()
    )
    if not changed:
        raise Stale(CHANGED)
    return Draft.objects.get(pk=draft.pk)
