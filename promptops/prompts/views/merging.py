"""Merging the editor's text with a version that went live in the meantime: the panel, using the merge, undoing it.

The rows of the panel are in `prompts.merge_panel`, the merge itself in `texts.merge`.
"""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused, Stale
from promptops.people.enums import Permission
from promptops.prompts import merge_panel, queries
from promptops.prompts.actions import merges
from promptops.prompts.changes import setting_changes
from promptops.prompts.content import NOTHING, Content
from promptops.prompts.errors import StaleRelease
from promptops.prompts.forms import ContentForm
from promptops.prompts.models import Draft, Template, Version
from promptops.prompts.views.lookup import template_or_404
from promptops.prompts.views.saving import invalid_form, save_if_storable
from promptops.texts import merge as merging
from promptops.texts.numbers import whole_number
from promptops.web import review as reviews
from promptops.web.access import requires
from promptops.web.request import Request


@requires(Permission.EDIT)
@require_POST
def merge(request: Request, name: str) -> HttpResponse:
    """Show the merge of the editor's text with what is live; when its panel posts, put the merge into the draft.

    The merge is computed again from the saved draft and the live version. The panel sends only which ones it showed
    (`seen`, `expected`) and the choices.
    """
    template = template_or_404(name)
    if "expected" not in request.POST:  # the editor has a `seen` of its own
        form = ContentForm(request.POST)
        if not form.is_valid():
            return invalid_form(form)
        return show_conflict(request, template, form, template.live_version)
    prefix = "choice-"
    chosen = {key.removeprefix(prefix): str(value) for key, value in request.POST.items() if key.startswith(prefix)}
    expected, seen = whole_number(request.POST["expected"]), request.POST.get("seen", "")
    try:
        draft = merges.take(template, chosen, user=request.user, expected=expected, seen=seen)
    except Refused as refused:
        return _show_again(request, name, refused, chosen)
    message = f"The editor now has your text merged with v{draft.merged_with}. Read it, then publish it."
    if draft.base and draft.content == draft.base.content:
        message = "The merged text is the same as the live text, without your changes. Undo the merge to restore them."
    return reviews.done(request, reverse("template", args=[name]), message)


@requires(Permission.EDIT)
@require_POST
def undo_merge(request: Request, name: str) -> HttpResponse:
    """Restore the draft from before the newest merge, after the panel has shown the difference."""
    template = template_or_404(name)
    draft = template.drafts.filter(user=request.user).first()
    before = draft.before_merges[-1] if draft and draft.before_merges else None
    error = ""
    if reviews.confirmed(request) or draft is None or before is None:
        try:
            merges.undo(template, user=request.user)
        except Refused as refused:
            error = str(refused)
        else:
            message = "The merge is undone. The editor has your text from before it."
            return reviews.done(request, reverse("template", args=[name]), message)
    return reviews.panel(
        request,
        title="Undo the merge?",
        confirm="Restore my text",
        form_id="undo-merge",
        action=reverse("template_merge_undo", args=[name]),
        changes=setting_changes(draft.content, before) if draft and before else [],
        old=draft.body if draft else "",
        new=before["body"] if before else "",
        error=error,
        affected="Only your draft changes. What is live stays as it is.",
        template="_review_form.html",
        without_note=True,
    )


def show_conflict(request: Request, template: Template, form: ContentForm, current: Version | None) -> HttpResponse:
    """Save the form, and show the merge with the version that went live while the person was editing."""
    draft = save_if_storable(request, template, form)
    base = template.versions.filter(pk=form.cleaned_data["base"]).first() if form.cleaned_data["base"] else None
    if base == current:
        return _nothing_to_merge(
            request, "Your text already starts from the live version. Publish it when it is ready."
        )
    return _panel(request, template, current, base, form.content, draft)


def _show_again(request: Request, name: str, refused: Refused, chosen: dict[str, str]) -> HttpResponse:
    """Show the merge as it is now, with the reason why the posted one was refused."""
    template = template_or_404(name)
    draft = template.drafts.select_related("base").filter(user=request.user).first()
    current = template.live_version
    if draft is None or draft.base == current:
        return _nothing_to_merge(request, str(refused))
    error = str(refused)
    if isinstance(refused, StaleRelease) and current:
        error = f"The live version changed again: v{current.number} is live now. This is the merge with it."
    if isinstance(refused, Stale):
        chosen = {}  # the choices belong to another merge
    yours = Content(**draft.content)
    return _panel(request, template, current, draft.base, yours, draft, chosen=chosen, error=error)


def _nothing_to_merge(request: Request, why: str) -> HttpResponse:
    return reviews.panel(
        request,
        title="Nothing to merge",
        confirm="",
        form_id="",
        error=why,
        affected="What is live stays as it is.",
        template="_review_form.html",
        without_note=True,
    )


def _panel(
    request: Request,
    template: Template,
    current: Version | None,
    base: Version | None,
    yours: Content,
    draft: Draft | None,
    *,
    chosen: dict[str, str] | None = None,
    error: str = "",
) -> HttpResponse:
    panel = None
    if draft and current:
        merged = merging.merge(base.content if base else NOTHING, draft.content, current.content)
        panel = merge_panel.panel(merged, f"v{current.number}", chosen or {})
    context = {
        "template": template,
        "live": current,
        "release": queries.releases.newest_release_of([current.pk]).get(current.pk) if current else None,
        "base": base,
        "yours": yours,
        "draft": draft,
        "unchanged": draft is None and base is not None and yours.body.replace("\r\n", "\n").strip() == base.body,
        "merge": panel,
        "error": error,
    }
    return render(request, "prompts/_conflict.html", context, status=409)
