"""Finding the template or version that an address names. Other reads are in `prompts.queries`."""

from django.shortcuts import get_object_or_404

from promptops.prompts.models import Template, Version


def template_or_404(name: str) -> Template:
    """Return the template with its live version. Raises Http404."""
    return get_object_or_404(Template.objects.select_related("live_version"), name=name)


def version_or_404(template: Template, number: int) -> Version:
    """Return a version of the template. Raises Http404."""
    return get_object_or_404(template.versions.select_related("author", "template"), number=number)
