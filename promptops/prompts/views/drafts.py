"""A person's own draft: autosave, discarding and restoring it, and choosing between the texts of two windows."""

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Stale
from promptops.people.enums import Permission
from promptops.prompts import queries
from promptops.prompts.actions import drafts as draft_actions
from promptops.prompts.errors import StaleDraft
from promptops.prompts.forms import ContentForm
from promptops.prompts.models import DiscardedDraft
from promptops.prompts.views.editor import checked_text
from promptops.prompts.views.lookup import template_or_404
from promptops.prompts.views.saving import (
    changed_elsewhere,
    invalid_form,
    plain_refusal,
    save,
    save_posted,
    undo_address,
)
from promptops.web import review as reviews
from promptops.web.access import part_of, requires
from promptops.web.request import Request


@requires(Permission.EDIT)
@require_POST
def draft(request: Request, name: str) -> HttpResponse:
    """Save the form as this person's draft, and answer with the state of the publish button."""
    template = template_or_404(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return invalid_form(form)
    try:
        saved = save(request, template, form, overwrite=bool(form.cleaned_data["overwrite"]))
    except StaleDraft as stale:
        return changed_elsewhere(request, template, form, stale.draft)
    except ValidationError as error:
        return plain_refusal(" ".join(error.messages))
    context = {
        "template": template,
        "draft": saved,
        "discarded": queries.templates.discarded_count(template, request.user),
        "own": queries.handover.own(template, request.user, saved),
        "next_number": queries.templates.next_number(template),
    }
    return render(request, "prompts/_saved.html", context | checked_text(template, form.content))


@requires(Permission.EDIT)
@require_POST
def discard(request: Request, name: str) -> HttpResponse:
    """Discard this person's draft together with the editor's text, and show the live text. A toast offers Undo."""
    template = template_or_404(name)
    if refusal := save_posted(request, template):
        return refusal
    discarded = draft_actions.discard_draft(template, user=request.user)
    url = reverse("template", args=[name])
    return reviews.done(request, url, "Draft discarded.", undo=undo_address(discarded, template))


@requires(Permission.EDIT)
@part_of("template", "name")
def discarded(request: Request, name: str) -> HttpResponse:
    """Show this person's discarded drafts, to read and to restore."""
    template = template_or_404(name)
    rows = queries.templates.discarded(template, request.user)
    return render(request, "prompts/_discarded.html", {"template": template, "rows": rows, "most": DiscardedDraft.KEPT})


@requires(Permission.EDIT)
@require_POST
def restore_draft(request: Request, name: str, discarded_id: int) -> HttpResponse:
    """Restore a discarded draft. The editor's text is saved first, then moved to the discarded drafts."""
    template = template_or_404(name)
    if refusal := save_posted(request, template):
        return refusal
    url = reverse("template", args=[name])
    try:
        replaced = draft_actions.restore_draft(template, discarded_id, user=request.user)
    except Stale as stale:
        return reviews.done(request, url, str(stale))
    if replaced:
        message = "Draft restored. The text that was in the editor is now a discarded draft."
        return reviews.done(request, url, message, undo=undo_address(replaced, template))
    return reviews.done(request, url, "Draft restored.")


@requires(Permission.EDIT)
@require_POST
def set_aside(request: Request, name: str) -> HttpResponse:
    """Continue with the draft that this person's other window saved, and discard the text of this one."""
    template = template_or_404(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return invalid_form(form)
    try:
        discarded = draft_actions.set_aside(template, form.content, user=request.user, base=form.cleaned_data["base"])
    except ValidationError as error:
        return plain_refusal(" ".join(error.messages))
    url, message = reverse("template", args=[name]), "The editor shows the text of your other window."
    return reviews.done(request, url, message, undo=undo_address(discarded, template))
