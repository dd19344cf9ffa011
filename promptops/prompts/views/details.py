"""The Details page of a template: its description, making it the default, archiving and restoring it."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops.people.enums import Permission
from promptops.prompts import queries
from promptops.prompts.actions import templates as actions
from promptops.prompts.answer_rules import fitting
from promptops.prompts.changes import Archive, MakeDefault, Restore
from promptops.prompts.forms import DescriptionForm
from promptops.prompts.models import Template
from promptops.prompts.views.lookup import template_or_404
from promptops.runs.queries.contracts import contract_figures
from promptops.runs.queries.reported import reported_by_servers
from promptops.web import review as reviews
from promptops.web.access import actor, refused, requires
from promptops.web.request import Request


@requires(Permission.READ)
def details(request: Request, name: str) -> HttpResponse:
    """Show the description, the default and the archive; with POST, save the description."""
    template = template_or_404(name)
    form = DescriptionForm(request.POST or None, initial={"description": template.description})
    if request.method == "POST":
        if not request.user.may(Permission.EDIT):
            raise refused(request, Permission.EDIT)
        if form.is_valid():
            actions.describe(template, form.cleaned_data["description"], by=actor(request))
            messages.success(request, "Description saved.")
            return redirect("template_details", name=name)
    default = Template.objects.filter(operation=template.operation, is_default=True).first()
    context = {"template": template, "form": form, "default": default, "tab": "details"}
    spec = queries.operations.of(template.operation)
    context["has_built_in_text"] = bool(spec.default_text)
    figures = contract_figures(template)
    contract = fitting(spec, template.live_version.answer_rules if template.live_version else None)
    if figures.total.checked or (contract and contract.is_checked):
        context["contract"] = figures
    context["reported"] = reported_by_servers(template.name)
    context["is_last"] = queries.templates.is_last(template)  # then archiving leaves the operation without an answer
    return render(request, "prompts/details.html", context, status=422 if form.is_bound else 200)


@requires(Permission.RELEASE)
@require_POST
def make_default(request: Request, name: str) -> HttpResponse:
    """Make this template the default of its operation, after the review panel."""
    template = template_or_404(name)
    default = Template.objects.filter(operation=template.operation, is_default=True).first()
    return reviews.run(request, MakeDefault(template, default))


@requires(Permission.RELEASE)
@require_POST
def archive(request: Request, name: str) -> HttpResponse:
    """Archive the template, after the review panel."""
    return reviews.run(request, Archive(template_or_404(name)))


@requires(Permission.RELEASE)
@require_POST
def restore(request: Request, name: str) -> HttpResponse:
    """Restore the template from the archive, after the review panel."""
    return reviews.run(request, Restore(template_or_404(name)))
