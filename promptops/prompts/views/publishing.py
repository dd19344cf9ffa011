"""Publishing the editor's text: the review panel with its checks, then the release. Merging is in `merging`."""

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from promptops.ledger.errors import Refused
from promptops.ledger.releases import overriding_pins
from promptops.people.enums import Permission
from promptops.prompts import queries
from promptops.prompts.actions import releases
from promptops.prompts.changes import setting_changes
from promptops.prompts.checks import failures
from promptops.prompts.errors import StaleRelease
from promptops.prompts.forms import ContentForm
from promptops.prompts.models import Template
from promptops.prompts.release_checks import release_checks
from promptops.prompts.views.lookup import template_or_404
from promptops.prompts.views.merging import show_conflict
from promptops.prompts.views.saving import invalid_form, save_if_storable
from promptops.web import review as reviews
from promptops.web.access import actor, requires
from promptops.web.request import Request

NOT_PUBLISHED = "Nothing was published: some checks failed. Your text is saved as your draft."


@requires(Permission.RELEASE)
@require_POST
def review(request: Request, name: str) -> HttpResponse:
    """Show the review panel of the editor's text: its difference from what is live, a note, one button."""
    return _review(request, template_or_404(name))


@requires(Permission.RELEASE)
@require_POST
def publish(request: Request, name: str) -> HttpResponse:
    """Publish the editor's text, or show the merge when another version went live first. The draft is kept."""
    template = template_or_404(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return invalid_form(form)
    try:
        with overriding_pins(reviews.overrides_pins(request)):
            version = releases.publish(
                template,
                form.content,
                by=actor(request),
                expected=form.cleaned_data["base"],
                note=reviews.note(request),
            )
    except StaleRelease as stale:
        return show_conflict(request, template, form, stale.live)
    except (Refused, ValidationError) as error:
        return _review(request, template, error=reviews.sentence(error))
    return HttpResponseClientRedirect(f"{reverse('template', args=[name])}?published={version.number}")


def _review(request: Request, template: Template, error: str = "") -> HttpResponse:
    form = ContentForm(request.POST)
    if not form.is_valid():
        return invalid_form(form)
    current = template.live_version
    if form.cleaned_data["base"] != (current.pk if current else None):
        return show_conflict(request, template, form, current)
    save_if_storable(request, template, form)
    number = queries.templates.next_number(template)
    checks = release_checks(form.content, template.operation)
    failed = bool(failures(checks))
    content = form.content if failed else form.content.cleaned()
    return reviews.panel(
        request,
        title=f"Publish {template.name} v{number}?",
        confirm=f"Publish v{number}",
        form_id="",  # the button includes the editor's form and the note
        changes=setting_changes(current.content if current else {}, vars(content)),
        old=current.body if current else "",
        new=content.body,
        error=NOT_PUBLISHED if error and failed else error,
        template="prompts/_publish.html",
        is_pinned=True,
        checks=checks,
        failed=failed,
        samples=queries.samples.of(template.operation),
        operation=template.operation,
        live=current,
        name=template.name,
        base=form.cleaned_data["base"],
    )
