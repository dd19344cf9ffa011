"""Saving what the editor posts as the person's draft, for every view that gets the editor's form.

The views of drafts themselves are in `drafts`.
"""

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.changes import setting_changes
from promptops.prompts.content import SETTINGS
from promptops.prompts.errors import StaleDraft
from promptops.prompts.forms import ContentForm
from promptops.prompts.models import DiscardedDraft, Draft, Template
from promptops.web.request import Request


def save(request: Request, template: Template, form: ContentForm, *, overwrite: bool) -> Draft | None:
    """Save a valid form as this person's draft. Raises what `save_draft` raises."""
    fields = form.cleaned_data
    return save_draft(
        template,
        form.content,
        user=request.user,
        base=fields["base"],
        page=fields["page"],
        seen=fields["seen"],
        overwrite=overwrite,
    )


def save_if_storable(request: Request, template: Template, form: ContentForm) -> Draft | None:
    """Save the draft over any other before a step that may fail. A text that cannot be stored stays in the page."""
    try:
        return save(request, template, form, overwrite=True)
    except ValidationError:
        return None


def save_posted(request: Request, template: Template) -> HttpResponse | None:
    """Save the editor's text if the request has one. Return the refusal, or None when nothing was refused."""
    if "body" not in request.POST:
        return None
    form = ContentForm(request.POST)
    if not form.is_valid():
        return invalid_form(form)
    try:
        save(request, template, form, overwrite=False)
    except StaleDraft as stale:
        return changed_elsewhere(request, template, form, stale.draft)
    except ValidationError as error:
        return plain_refusal(" ".join(error.messages))
    return None


def changed_elsewhere(request: Request, template: Template, form: ContentForm, other: Draft) -> HttpResponse:
    """Show that another window of the same person has saved since: both texts, and the choice between them."""
    yours = {name: setting.cleaned(getattr(form.content, name)) for name, setting in SETTINGS.items()}
    context = {"template": template, "other": other, "yours": form.content}
    context["changes"] = setting_changes(other.content, yours)
    response = render(request, "prompts/_elsewhere.html", context, status=409)
    response["X-Reason"] = "your draft was changed in another window. Choose a text below"
    return response


def invalid_form(form: ContentForm) -> HttpResponse:
    """Return the errors of the editor's form as plain text."""
    return plain_refusal(
        " ".join(
            f"{form.fields[name].label or name}: {error}" for name, errors in form.errors.items() for error in errors
        )
    )


def plain_refusal(sentence: str) -> HttpResponse:
    """Return the sentence as plain text, which the page shows as a toast or beside the save state."""
    return HttpResponse(sentence, status=400, content_type="text/plain; charset=utf-8")


def undo_address(discarded: DiscardedDraft | None, template: Template) -> str:
    """Return the address to which a toast's *Undo* posts to restore the draft; "" when nothing was discarded."""
    return reverse("template_restore_draft", args=[template.name, discarded.pk]) if discarded else ""
