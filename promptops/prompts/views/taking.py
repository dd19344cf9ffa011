"""Putting a text that exists already into a person's editor, such as that of a version or of a shared draft."""

from django.http import HttpResponse
from django.urls import reverse

from promptops.prompts.actions import drafts as draft_actions
from promptops.prompts.changes import setting_changes
from promptops.prompts.content import Content
from promptops.prompts.models import Template, Version
from promptops.prompts.models.templates import Content as StoredContent
from promptops.prompts.views.saving import undo_address
from promptops.web import review as reviews
from promptops.web.request import Request


def take(
    request: Request, template: Template, source: StoredContent, *, base: Version | None, what: str
) -> HttpResponse:
    """Make the text of `source` the person's draft, which starts from `base`. `what` names the text in sentences.

    Another draft of the person moves to the discarded drafts, after a panel has shown the difference.
    """
    draft = template.drafts.filter(user=request.user).first()
    if draft and draft.content != source.content and not reviews.confirmed(request):
        return reviews.panel(
            request,
            title=f"Replace your draft with {what}?",
            confirm=f"Replace my draft with {what}",
            form_id="replace-draft",
            action=request.path,
            template="_review_form.html",
            changes=setting_changes(draft.content, source.content),
            old=draft.body,
            new=source.body,
            affected="Your draft moves to your discarded drafts; you can restore it. What is live stays as it is.",
            danger=True,
            without_note=True,
        )
    discarded = draft_actions.discard_draft(template, user=request.user)
    draft_actions.save_draft(template, Content(**source.content), user=request.user, base=base.pk if base else None)
    message = f"The editor has the text of {what}. Change it or publish it."
    return reviews.done(
        request, reverse("template", args=[template.name]), message, undo=undo_address(discarded, template)
    )
