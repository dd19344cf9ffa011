"""Handing over one's own draft in the editor: sharing it with a link, and asking for its release.

The pages of requests are in `requests`.
"""

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.prompts import queries
from promptops.prompts.actions import handover as actions
from promptops.prompts.changes import setting_changes
from promptops.prompts.checks import failures
from promptops.prompts.content import NOTHING, Content
from promptops.prompts.models import Template
from promptops.prompts.release_checks import release_checks
from promptops.prompts.views.lookup import shared_or_404, template_or_404
from promptops.prompts.views.saving import plain_refusal, save_posted
from promptops.prompts.views.taking import take
from promptops.web import review as reviews
from promptops.web.access import actor, part_of, requires
from promptops.web.request import Request


@requires(Permission.EDIT)
@require_POST
def share(request: Request, name: str) -> HttpResponse:
    """Save the editor's text, share the draft, and show the link."""
    template = template_or_404(name)
    if refusal := save_posted(request, template):
        return refusal
    try:
        shared = actions.share(template, by=actor(request))
    except Refused as refused:
        return plain_refusal(str(refused))
    link = request.build_absolute_uri(reverse("shared_draft", args=[name, shared.pk]))
    return render(request, "prompts/_share.html", {"template": template, "shared": shared, "link": link})


@requires(Permission.READ)
def shared(request: Request, name: str, shared_id: int) -> HttpResponse:
    """Show a draft as it was shared, with its difference from what is live now. A revoked link answers 410."""
    template = template_or_404(name)
    found = shared_or_404(template, shared_id)
    if found.revoked_at:
        gone = {"title": "This link no longer works", "reason": queries.handover.revoked_reason(found)}
        return render(request, "404.html", gone, status=410)
    live = template.live_version
    context = {
        "template": template,
        "shared": found,
        "changes": setting_changes(live.content if live else NOTHING, found.content),
        "arrival": queries.handover.Arrival(found),
        "may_revoke": queries.handover.may_revoke(request.user, found),
    }
    return render(request, "prompts/shared.html", context)


@requires(Permission.EDIT)
@require_POST
def revoke_share(request: Request, name: str, shared_id: int) -> HttpResponse:
    """Revoke the link to a shared draft."""
    template = template_or_404(name)
    found = shared_or_404(template, shared_id)
    try:
        actions.revoke_share(found, by=actor(request))
    except Refused as refused:
        return plain_refusal(str(refused))
    message = f"Nobody can open the link to this draft of {name} any more."
    return reviews.done(request, reverse("template", args=[name]), message)


@requires(Permission.EDIT)
@require_POST
def edit_shared(request: Request, name: str, shared_id: int) -> HttpResponse:
    """Put a shared draft into the person's own editor. It starts from the version that it was begun with."""
    template = template_or_404(name)
    found = shared_or_404(template, shared_id)
    if found.revoked_at:
        return plain_refusal(queries.handover.revoked_reason(found))
    return take(request, template, found, base=found.base, what=f"{found.user.name}'s draft")


@requires(Permission.EDIT)
@require_POST
def ask(request: Request, name: str) -> HttpResponse:
    """Show what a request for a release contains; when the panel is confirmed, ask for the release."""
    template = template_or_404(name)
    if refusal := save_posted(request, template):
        return refusal
    if not reviews.confirmed(request):
        return _asking(request, template)
    try:
        asked = actions.ask(template, by=actor(request), note=reviews.note(request))
    except (Refused, ValidationError) as error:
        return _asking(request, template, reviews.sentence(error))
    verb = "Releasers see your update" if asked.edition > 1 else "Releasers see your request"
    return reviews.done(request, reverse("template", args=[name]), f"{verb}. You can go on editing.")


def _asking(request: Request, template: Template, error: str = "") -> HttpResponse:
    draft = template.drafts.filter(user=request.user).first()
    active = queries.handover.active_of(template, request.user)
    live = template.live_version
    checks = release_checks(Content(**draft.content), template.operation) if draft else []
    return reviews.panel(
        request,
        title=f"{'Update your request for' if active else 'Ask for'} a release of {template.name}?",
        confirm="Update the request" if active else "Ask for a release",
        form_id="",  # the button includes the editor's form and the note
        changes=setting_changes(live.content if live else {}, draft.content) if draft else [],
        old=live.body if live else "",
        new=draft.body if draft else "",
        error=error,
        affected="Releasers get a copy of this text. What is live stays as it is, and you can go on editing.",
        template="prompts/_ask.html",
        checks=checks,
        failed=bool(failures(checks)),
        name=template.name,
        in_place_of=active,
        note=reviews.note(request) or (active.note if active else ""),
    )


@requires(Permission.EDIT)
@part_of("template", "name")
def own_request(request: Request, name: str) -> HttpResponse:
    """Return the state of the person's own request, for the editor's status line and buttons, if it is not `shown`."""
    template = template_or_404(name)
    draft = template.drafts.filter(user=request.user).first()
    own = queries.handover.own(template, request.user, draft)
    if request.GET.get("shown") == (own.request.mark if own else ""):
        return HttpResponse(status=204)
    context = {
        "template": template,
        "draft": draft,
        "next_number": queries.templates.next_number(template),
        "discarded": queries.templates.discarded_count(template, request.user),
        "own": own,
    }
    return render(request, "prompts/_own_request_news.html", context)
