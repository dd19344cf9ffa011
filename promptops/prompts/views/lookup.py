"""Finding the template or version that an address names. Other reads are in `prompts.queries`."""

from django.shortcuts import get_object_or_404

from promptops.prompts.models import ReleaseRequest, SharedDraft, Template, Version


def template_or_404(name: str) -> Template:
    """Return the template with its live version. Raises Http404."""
    return get_object_or_404(Template.objects.select_related("live_version"), name=name)


def version_or_404(template: Template, number: int) -> Version:
    """Return a version of the template. Raises Http404."""
    return get_object_or_404(template.versions.select_related("author", "template"), number=number)


def shared_or_404(template: Template, shared_id: int) -> SharedDraft:
    """Return a draft of the template that somebody shared. Raises Http404."""
    related = SharedDraft.objects.select_related("template__live_version", "user", "base")
    return get_object_or_404(related, template=template, pk=shared_id)


def request_or_404(request_id: int) -> ReleaseRequest:
    """Return a request for a release, with its template and people. Raises Http404."""
    related = ReleaseRequest.objects.select_related("template__live_version", "user", "base", "answered_by", "version")
    return get_object_or_404(related, pk=request_id)
