"""The editor's page and what it refreshes by itself: its state, the checked text, sample inputs and presence.

Saving the text is in `drafts`, publishing it in `publishing`.
"""

from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from promptops.engine.inputs import field_values
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.prompts import queries
from promptops.prompts.actions import samples as sample_actions
from promptops.prompts.checks import check_content, findings
from promptops.prompts.content import BODY, TEXTS
from promptops.prompts.filled_texts import filled_texts
from promptops.prompts.forms import ContentForm, typed_input
from promptops.prompts.live_operations import spec_of
from promptops.prompts.models import Template
from promptops.prompts.views.lookup import template_or_404
from promptops.prompts.views.saving import invalid_form, plain_refusal
from promptops.runs.queries import answers
from promptops.runs.queries import providers as provider_queries
from promptops.texts.numbers import estimate_tokens, whole_number
from promptops.web import review as reviews
from promptops.web.access import actor, part_of, requires
from promptops.web.request import Request


@requires(Permission.READ)
def edit(request: Request, name: str) -> HttpResponse:
    """Show the editor beside "Try it"; to people who may not edit, the live text without any controls."""
    template = template_or_404(name)
    draft = template.drafts.select_related("base").filter(user=request.user).first()
    discarded = queries.templates.discarded_count(template, request.user)
    if request.htmx:
        # The label of the publish button has the next number, which changes with what is live.
        state = _state(template, whole_number(request.GET.get("base")))
        state |= {"draft": draft, "discarded": discarded, "published": _published(request, template), "oob": True}
        state["own"] = queries.handover.own(template, request.user, draft)
        return render(request, "prompts/_state.html", state)
    source = draft or template.live_version
    base = draft.base if draft else template.live_version
    initial = {**source.content, "base": base.pk if base else None} if source else {}
    initial |= {"page": uuid4().hex, "seen": draft.state if draft else ""}
    samples = queries.samples.of(template.operation)
    first = field_values(samples.first) or {}
    defaults = live.current().settings_for(template.operation)
    operation = queries.operations.of(template.operation)
    return render(
        request,
        "prompts/edit.html",
        _state(template, base.pk if base else None)
        | {
            "operation": operation,
            "try_fields": [(field, first.get(field.name, "")) for field in operation.fields],
            "form": ContentForm(
                initial=initial,
                defaults=defaults,
                keep=f"draft-{template.name}",
                spec=operation,
            ),
            "draft": draft,
            "discarded": discarded,
            "own": queries.handover.own(template, request.user, draft),
            "tokens": estimate_tokens(source.body if source else ""),
            "versions": list(queries.templates.history(template)),
            "providers": provider_queries.listed(),
            "company": queries.presence.at(template, request.user),
            "published": _published(request, template),
            "samples": samples,
            "most_answers": answers.MOST,
            "given": _given(request, template, source),
        }
        | checked_text(template, source),
    )


@requires(Permission.EDIT)
@require_POST
def check(request: Request, name: str) -> HttpResponse:
    """Check and fill in the editor's text again, after a variable changed."""
    template = template_or_404(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return invalid_form(form)
    return render(request, "prompts/_checked.html", {"template": template} | checked_text(template, form.content))


@requires(Permission.EDIT)
@part_of("template", "name")
def samples(request: Request, name: str) -> HttpResponse:
    """Show the menu of sample inputs; with POST, pin the input of "Try it" or unpin the sample that `unpin` names."""
    template = template_or_404(name)
    message = ""
    if request.method == "POST":
        try:
            if "unpin" in request.POST:
                sample = whole_number(request.POST["unpin"]) or 0
                sample_actions.unpin(template.operation, sample, by=actor(request))
                message = "The input is unpinned."
            else:
                text = typed_input(queries.operations.of(template.operation), request.POST.dict())
                sample_actions.pin(template.operation, text, by=actor(request))
                message = f"Pinned. Smoke runs of {template.operation} now use this input."
        except (Refused, ValidationError) as error:
            return plain_refusal(reviews.sentence(error))
    context = {
        "template": template,
        "operation": queries.operations.of(template.operation),
        "samples": queries.samples.of(template.operation),
        "message": message,
    }
    return render(request, "runs/_samples.html", context)


@requires(Permission.READ)
@part_of("template", "name")
def presence(request: Request, name: str) -> HttpResponse:
    """Show the other people who have the editor open."""
    template = template_or_404(name)
    context = {"template": template, "company": queries.presence.at(template, request.user)}
    return render(request, "prompts/_presence.html", context)


def checked_text(template: Template, content: Any) -> dict[str, Any]:
    """Return the context of a checked content (None: no text): variables, failed checks, the filled-in text."""
    variables = queries.variables.of(template.operation)
    values = {variable.name: variable.value for variable in variables}
    spec = spec_of(template.operation)
    return {
        "variables": variables,
        "findings": findings(check_content(content, values, spec)) if content else [],
        "filled": filled_texts(content, values, spec) if content else [],
    }


def _state(template: Template, base: int | None) -> dict[str, Any]:
    """Return what is live, as a text that started from the version `base` sees it."""
    current = template.live_version
    return {
        "template": template,
        "live": current,
        "release": queries.releases.newest_release_of([current.pk]).get(current.pk) if current else None,
        "base": base,
        "outdated": (current.pk if current else None) != base,
        "next_number": queries.templates.next_number(template),
        "tab": "edit",
    }


def _given(request: Request, template: Template, source: Any) -> dict[str, Any] | None:
    """Return the run whose input the page opens with, and whether its prompt differs from the editor's `source`."""
    run = answers.to_try(whole_number(request.GET.get("run")) or 0, template)
    if run is None:
        return None
    mine = source.content if source else {}
    texts = run.version.content if run.version else {name: getattr(run, f"draft_{name}") for name in (BODY, *TEXTS)}
    return {"run": run, "differs": any((texts[name] or "") != (mine.get(name) or "") for name in (BODY, *TEXTS))}


def _published(request: Request, template: Template) -> dict[str, Any] | None:
    """Return the release that led to this page, with the version that it replaced, for the undo button."""
    release = template.releases.select_related("version", "replaced").first()
    if release is None or release.version is None or template.live_version_id != release.version_id:
        return None
    if request.GET.get("published") != str(release.version.number):
        return None
    return {"version": release.version, "replaced": release.replaced, "revision": release.revision}
