"""Templates: list, editor, history, and the acts that make a version live."""

from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from promptops.engine.variables import Piece, filled_bytes, pieces
from promptops.ledger.errors import Refused, Stale
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts import merge_panel, queries
from promptops.prompts.actions import merges, releases
from promptops.prompts.actions import samples as sample_actions
from promptops.prompts.actions import templates as actions
from promptops.prompts.changes import Archive, MakeDefault, Restore, RollBackVersion, setting_changes, settings_of
from promptops.prompts.checks import failures, run_checks
from promptops.prompts.content import NOTHING, Content
from promptops.prompts.errors import StaleDraft, StaleRelease
from promptops.prompts.forms import ContentForm, DescriptionForm, TemplateForm
from promptops.prompts.live_variables import values_of
from promptops.prompts.models import DiscardedDraft, Draft, Template, Version
from promptops.prompts.queries.search import search
from promptops.runs.queries import providers as provider_queries
from promptops.texts import diffs
from promptops.texts import merge as merging
from promptops.texts.numbers import estimate_tokens, whole_number
from promptops.web import review as reviews
from promptops.web.access import actor, refused, requires
from promptops.web.filters import SearchForm
from promptops.web.lists import clean_query
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """All templates by operation; `?archived=1` shows the archive, `?q=` what holds these words."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form = SearchForm(request.GET, auto_id="prompts-%s", label_suffix="")
    archived = request.GET.get("archived") == "1"
    if form.is_valid() and (words := form.cleaned_data["q"]):
        found = search(words, request.user)
        page = "prompts/_found.html" if request.htmx else "prompts/index.html"
        return render(request, page, {"form": form, "found": found})
    rows = queries.templates.listed(request.user, archived=archived)
    page = "prompts/_list.html" if request.htmx else "prompts/index.html"
    return render(request, page, {"form": form, "rows": rows, "archived": archived})


@requires(Permission.EDIT)
def new(request: Request) -> HttpResponse:
    """Create a template; its first text is written in the editor."""
    operation = request.GET.get("operation")
    form = TemplateForm(request.POST or None, initial={"operation": operation} if operation else None)
    if request.method == "POST" and form.is_valid():
        try:
            template = actions.create_template(by=actor(request), **form.cleaned_data)
        except ValidationError as error:
            for field, errors in error.message_dict.items():
                form.add_error(field if field in form.fields else None, errors)
        else:
            return redirect("template", name=template.name)
    return render(request, "prompts/new.html", {"form": form}, status=422 if form.is_bound else 200)


@requires(Permission.READ)
def edit(request: Request, name: str) -> HttpResponse:
    """The editor beside "Try it"; without the right to edit, the live text to read and nothing to press."""
    template = _template(name)
    draft = template.drafts.select_related("base").filter(user=request.user).first()
    if request.htmx:
        # The publish button names the next number, which changes with what is live.
        state = _state(request, template, whole_number(request.GET.get("base")))
        state |= {"draft": draft, "discarded": _discarded(request, template), "oob": True}
        return render(request, "prompts/_state.html", state)
    source = draft or template.live_version
    base = draft.base if draft else template.live_version
    initial = {**source.content, "base": base.pk if base else None} if source else {}
    initial |= {"page": uuid4().hex, "seen": draft.state if draft else ""}
    snapshot = live.current()
    return render(
        request,
        "prompts/edit.html",
        _state(request, template, base.pk if base else None)
        | {
            "form": ContentForm(initial=initial, defaults=snapshot.settings, keep=f"draft-{template.name}"),
            "draft": draft,
            "discarded": _discarded(request, template),
            "tokens": estimate_tokens(source.body if source else ""),
            "versions": list(queries.templates.history(template)),
            "providers": provider_queries.listed(),
            "company": queries.presence.at(template, request.user),
            "published": _published(request, template),
            "samples": queries.samples.of(template.operation),
        }
        | _checked(template, source.body if source else None),
    )


@requires(Permission.EDIT)
@require_POST
def draft(request: Request, name: str) -> HttpResponse:
    """Autosave: keep the form as this person's draft and answer with the state of the publish button."""
    template = _template(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return _cannot_keep(form)
    try:
        kept = _save(request, template, form, overwrite=bool(form.cleaned_data["overwrite"]))
    except StaleDraft as stale:
        return _elsewhere(request, template, form, stale.draft)
    except ValidationError as error:
        return HttpResponse(" ".join(error.messages), status=400, content_type="text/plain; charset=utf-8")
    context = {
        "template": template,
        "draft": kept,
        "discarded": _discarded(request, template),
        "next_number": queries.templates.next_number(template),
    }
    return render(request, "prompts/_saved.html", context | _checked(template, form.content.body))


@requires(Permission.EDIT)
@require_POST
def check(request: Request, name: str) -> HttpResponse:
    """The findings, the filled-in view and the variables for what is in the editor, after a variable changed."""
    template = _template(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return _cannot_keep(form)
    return render(request, "prompts/_checked.html", {"template": template} | _checked(template, form.content.body))


@requires(Permission.EDIT)
@require_POST
def discard(request: Request, name: str) -> HttpResponse:
    """Discard this person's draft with what the editor holds, and show the live text again. It can be undone."""
    template = _template(name)
    if refused := _keep_posted(request, template):
        return refused
    kept = actions.discard_draft(template, user=request.user)
    url = reverse("template", args=[name])
    return reviews.done(request, url, "Draft discarded.", undo=_undo_by(kept, template))


@requires(Permission.EDIT)
def discarded(request: Request, name: str) -> HttpResponse:
    """The panel with this person's discarded drafts, to read and to put back."""
    template = _template(name)
    rows = queries.templates.discarded(template, request.user)
    return render(request, "prompts/_discarded.html", {"template": template, "rows": rows, "most": DiscardedDraft.KEPT})


@requires(Permission.EDIT)
@require_POST
def restore_draft(request: Request, name: str, kept: int) -> HttpResponse:
    """Put a discarded draft back. What the editor holds is saved first, and set aside for it."""
    template = _template(name)
    if refused := _keep_posted(request, template):
        return refused
    url = reverse("template", args=[name])
    try:
        replaced = actions.restore_draft(template, kept, user=request.user)
    except Stale as stale:
        return reviews.done(request, url, str(stale))
    if replaced:
        message = "The draft is back. The text that was in the editor is among the discarded drafts."
        return reviews.done(request, url, message, undo=_undo_by(replaced, template))
    return reviews.done(request, url, "The draft is back.")


@requires(Permission.EDIT)
@require_POST
def set_aside(request: Request, name: str) -> HttpResponse:
    """Of two texts of the same person, go on with the saved one; the one in this page is set aside."""
    template = _template(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return _cannot_keep(form)
    try:
        kept = actions.set_aside(template, form.content, user=request.user, base=form.cleaned_data["base"])
    except ValidationError as error:
        return HttpResponse(" ".join(error.messages), status=400, content_type="text/plain; charset=utf-8")
    url, message = reverse("template", args=[name]), "The editor shows the text of your other window."
    return reviews.done(request, url, message, undo=_undo_by(kept, template))


@requires(Permission.EDIT)
def samples(request: Request, name: str) -> HttpResponse:
    """The menu of sample inputs; with POST, pin the input of "Try it" or unpin the sample that `unpin` names."""
    template = _template(name)
    said = ""
    if request.method == "POST":
        try:
            if "unpin" in request.POST:
                sample = whole_number(request.POST["unpin"]) or 0
                sample_actions.unpin(template.operation, sample, by=actor(request))
                said = "The input is unpinned."
            else:
                sample_actions.pin(template.operation, request.POST.get("input", ""), by=actor(request))
                said = f"Pinned. Smoke runs of {template.operation} take this input from now on."
        except (Refused, ValidationError) as error:
            return HttpResponse(_sentence(error), status=400, content_type="text/plain; charset=utf-8")
    context = {"template": template, "samples": queries.samples.of(template.operation), "said": said}
    return render(request, "runs/_samples.html", context)


@requires(Permission.READ)
def presence(request: Request, name: str) -> HttpResponse:
    """Who else has the editor open."""
    template = _template(name)
    context = {"template": template, "company": queries.presence.at(template, request.user)}
    return render(request, "prompts/_presence.html", context)


@requires(Permission.RELEASE)
@require_POST
def review(request: Request, name: str) -> HttpResponse:
    """The review panel for what is in the editor: its difference from live, a note, one button."""
    return _review(request, _template(name))


@requires(Permission.EDIT)
@require_POST
def merge(request: Request, name: str) -> HttpResponse:
    """The merge of what is in the editor with what is live; from its panel, the merge goes into the draft.

    What is taken is merged anew from the saved draft and the live version; the panel only sends which ones it showed
    (`seen`, `expected`) and what was chosen.
    """
    template = _template(name)
    if "expected" not in request.POST:  # the editor has a `seen` of its own
        form = ContentForm(request.POST)
        if not form.is_valid():
            return _cannot_keep(form)
        return _conflict(request, template, form, template.live_version)
    prefix = "choice-"
    chosen = {key.removeprefix(prefix): str(value) for key, value in request.POST.items() if key.startswith(prefix)}
    expected, seen = whole_number(request.POST["expected"]), request.POST.get("seen", "")
    try:
        draft = merges.take(template, chosen, user=request.user, expected=expected, seen=seen)
    except Refused as refused:
        return _merge_again(request, name, refused, chosen)
    message = f"The editor holds your text merged with v{draft.merged_with}. Read it, then publish it."
    if draft.base and draft.content == draft.base.content:
        message = "The merge is what is live: nothing of yours is left in it. Undo the merge to have your text back."
    return reviews.done(request, reverse("template", args=[name]), message)


@requires(Permission.EDIT)
@require_POST
def undo_merge(request: Request, name: str) -> HttpResponse:
    """Bring back the draft as it was before the newest merge, once the person has seen what goes."""
    template = _template(name)
    draft = template.drafts.filter(user=request.user).first()
    before = draft.before_merges[-1] if draft and draft.before_merges else None
    error = ""
    if reviews.confirmed(request) or draft is None or before is None:
        try:
            merges.undo(template, user=request.user)
        except Refused as refused:
            error = str(refused)
        else:
            message = "Your draft is what it was before the merge."
            return reviews.done(request, reverse("template", args=[name]), message)
    return reviews.panel(
        request,
        title="Undo the merge?",
        confirm="Bring back my text",
        form_id="undo-merge",
        action=reverse("template_merge_undo", args=[name]),
        changes=setting_changes(draft.content, before) if draft and before else [],
        old=draft.body if draft else "",
        new=before["body"] if before else "",
        error=error,
        affected="The draft is yours alone; what is live stays as it is.",
        template="_review_form.html",
        without_note=True,
    )


@requires(Permission.RELEASE)
@require_POST
def publish(request: Request, name: str) -> HttpResponse:
    """Publish what is in the editor. Refused with both texts when someone was faster; the draft is kept."""
    template = _template(name)
    form = ContentForm(request.POST)
    if not form.is_valid():
        return _cannot_keep(form)
    try:
        version = releases.publish(
            template,
            form.content,
            by=actor(request),
            expected=form.cleaned_data["base"],
            note=reviews.note(request),
        )
    except StaleRelease as stale:
        return _conflict(request, template, form, stale.live)
    except (Refused, ValidationError) as error:
        return _review(request, template, error=_sentence(error))
    return HttpResponseClientRedirect(f"{reverse('template', args=[name])}?published={version.number}")


@requires(Permission.READ)
def history(request: Request, name: str) -> HttpResponse:
    """All versions, newest first; any two can be chosen and compared."""
    template = _template(name)
    page = "prompts/_history.html" if request.htmx else "prompts/history.html"
    context = {"template": template, "versions": list(queries.templates.history(template)), "tab": "history"}
    return render(request, page, context)


@requires(Permission.READ)
def version(request: Request, name: str, number: int) -> HttpResponse:
    """One version: text, settings, note, hash."""
    template = _template(name)
    found = _version(template, number)
    context = {
        "template": template,
        "version": found,
        "tokens": estimate_tokens(found.body),
        "previous": template.versions.filter(number__lt=number).first(),
        "releases": list(found.releases.select_related("comparison").defer("configuration", "evidence")[:20]),
        "tab": "history",
    }
    return render(request, "prompts/version.html", context)


@requires(Permission.READ)
def diff(request: Request, name: str) -> HttpResponse:
    """Any two of: `live`, `draft` (one's own), a version's number; from `?a=` to `?b=`, `?view=side` or `inline`.

    Without a view the page is side by side where there is room.
    """
    template = _template(name)
    usual = "live" if template.live_version else "draft"
    a, b = (queries.templates.text(template, request.user, request.GET.get(side) or usual) for side in ("a", "b"))
    if a is None or b is None:
        raise Http404
    view = request.GET.get("view")
    lines = diffs.diff_lines(a.content["body"], b.content["body"])
    context = {
        "template": template,
        "texts": queries.templates.comparable(template, request.user),
        "a": a,
        "b": b,
        "settings": settings_of(a.content, b.content),
        "rows": diffs.fold(lines),
        "summary": diffs.summary(lines),
        "view": {"inline": "", "side": "side"}.get(view or "", "auto"),
        "tab": "history",
    }
    return render(request, "prompts/diff.html", context)


@requires(Permission.RELEASE)
@require_POST
def roll_back(request: Request, name: str, number: int) -> HttpResponse:
    """Make an older version live again: the review panel, then the act."""
    template = _template(name)
    expected = whole_number(request.POST.get("expected"))
    return reviews.run(request, RollBackVersion(template, _version(template, number), expected))


@requires(Permission.EDIT)
@require_POST
def edit_from(request: Request, name: str, number: int) -> HttpResponse:
    """Take a version's text into the editor, as a draft on top of what is live."""
    template = _template(name)
    found = _version(template, number)
    current = template.live_version
    draft = template.drafts.filter(user=request.user).first()
    if draft and draft.content != found.content and not reviews.confirmed(request):
        return reviews.panel(
            request,
            title=f"Replace your draft by v{number}?",
            confirm=f"Replace my draft by v{number}",
            form_id="edit-from",
            changes=setting_changes(draft.content, found.content),
            old=draft.body,
            new=found.body,
            affected="You have a draft of this template, which can be brought back. What is live stays as it is.",
            danger=True,
            without_note=True,
        )
    kept = actions.discard_draft(template, user=request.user)
    actions.save_draft(template, Content(**found.content), user=request.user, base=current.pk if current else None)
    message = f"The editor holds the text of v{number}, to change or publish."
    return reviews.done(request, reverse("template", args=[name]), message, undo=_undo_by(kept, template))


@requires(Permission.READ)
def details(request: Request, name: str) -> HttpResponse:
    """What the template is for, whether it is the default, and the archive."""
    template = _template(name)
    form = DescriptionForm(request.POST or None, initial={"description": template.description})
    if request.method == "POST":
        if not request.user.may(Permission.EDIT):
            raise refused(request, Permission.EDIT)
        if form.is_valid():
            actions.describe(template, form.cleaned_data["description"], by=actor(request))
            messages.success(request, "The description is saved.")
            return redirect("template_details", name=name)
    default = Template.objects.filter(operation=template.operation, is_default=True).first()
    context = {"template": template, "form": form, "default": default, "tab": "details"}
    return render(request, "prompts/details.html", context, status=422 if form.is_bound else 200)


@requires(Permission.RELEASE)
@require_POST
def make_default(request: Request, name: str) -> HttpResponse:
    """Let this template serve its operation."""
    template = _template(name)
    default = Template.objects.filter(operation=template.operation, is_default=True).first()
    return reviews.run(request, MakeDefault(template, default))


@requires(Permission.RELEASE)
@require_POST
def archive(request: Request, name: str) -> HttpResponse:
    """Take the template off the lists."""
    return reviews.run(request, Archive(_template(name)))


@requires(Permission.RELEASE)
@require_POST
def restore(request: Request, name: str) -> HttpResponse:
    """Bring the template back."""
    return reviews.run(request, Restore(_template(name)))


NOT_PUBLISHED = "Nothing was published: the checks say why. Your text is kept as your draft."


def _template(name: str) -> Template:
    return get_object_or_404(Template.objects.select_related("live_version"), name=name)


def _version(template: Template, number: int) -> Version:
    return get_object_or_404(template.versions.select_related("author", "template"), number=number)


def _checked(template: Template, body: str | None) -> dict[str, Any]:
    """What the editor's page tells of its text: variables, failed checks, and how it is filled in (None: no text)."""
    variables = queries.variables.of(template.operation)
    values = {variable.name: variable.value for variable in variables}
    found = list(pieces(body or ""))
    # Long values could make a short text of any size: of what is too long the finding has to do.
    if filled_bytes(body or "", values) > MAX_BODY_BYTES:
        found = []
    return {
        "variables": variables,
        "findings": failures(run_checks(body, values)) if body is not None else [],
        "filled": [_shown(piece, values) for piece in found] if any(piece.kind != "plain" for piece in found) else [],
    }


def _shown(piece: Piece, values: dict[str, str]) -> dict[str, str]:
    """A piece of the filled-in view: its text, and what it is (`known`, `unknown`, `stray` or nothing)."""
    state = {"variable": "known" if piece.name in values else "unknown", "stray": "stray"}.get(piece.kind, "")
    return {"text": piece.filled(values), "state": state, "name": piece.name}


def _state(request: Request, template: Template, base: int | None) -> dict[str, Any]:
    """What is live as seen from a text that started from `base`."""
    current = template.live_version
    return {
        "template": template,
        "live": current,
        "release": queries.templates.newest_release_of([current.pk]).get(current.pk) if current else None,
        "base": base,
        "outdated": (current.pk if current else None) != base,
        "next_number": queries.templates.next_number(template),
        "tab": "edit",
    }


def _published(request: Request, template: Template) -> dict[str, Any] | None:
    """After a release from this page: what was made live, and what was live before, for the undo button."""
    release = template.releases.select_related("version", "replaced").first()
    if release is None or release.version is None or template.live_version_id != release.version_id:
        return None
    if request.GET.get("published") != str(release.version.number):
        return None
    return {"version": release.version, "replaced": release.replaced, "revision": release.revision}


def _review(request: Request, template: Template, error: str = "") -> HttpResponse:
    form = ContentForm(request.POST)
    if not form.is_valid():
        return _cannot_keep(form)
    current = template.live_version
    if form.cleaned_data["base"] != (current.pk if current else None):
        return _conflict(request, template, form, current)
    _keep(request, template, form)
    number = queries.templates.next_number(template)
    checks = run_checks(form.content.body, values_of(template.operation))
    failed = bool(failures(checks))
    content = form.content if failed else form.content.cleaned()
    return reviews.panel(
        request,
        title=f"Publish {template.name} v{number}?",
        confirm=f"Publish v{number}",
        form_id="",  # the button takes the editor's form and the note with it
        changes=setting_changes(current.content if current else {}, vars(content)),
        old=current.body if current else "",
        new=content.body,
        error=NOT_PUBLISHED if error and failed else error,
        template="prompts/_publish.html",
        checks=checks,
        failed=failed,
        samples=queries.samples.of(template.operation),
        operation=template.operation,
        live=current,
        name=template.name,
        base=form.cleaned_data["base"],
    )


def _conflict(request: Request, template: Template, form: ContentForm, current: Version | None) -> HttpResponse:
    """Someone was faster: the merge of both texts, and a way on that loses neither."""
    draft = _keep(request, template, form)
    base = template.versions.filter(pk=form.cleaned_data["base"]).first() if form.cleaned_data["base"] else None
    if base == current:
        return _nothing_to_merge(request, "What you write began from what is live. Publish it when it is done.")
    return _merge_panel(request, template, current, base, form.content, draft)


def _merge_again(request: Request, name: str, refused: Refused, chosen: dict[str, str]) -> HttpResponse:
    """A merge was not taken, and why; shown as it would be now."""
    template = _template(name)
    draft = template.drafts.select_related("base").filter(user=request.user).first()
    current = template.live_version
    if draft is None or draft.base == current:
        return _nothing_to_merge(request, str(refused))
    error = str(refused)
    if isinstance(refused, StaleRelease) and current:
        error = f"Live changed again: v{current.number} is live now. This is the merge with it."
    if isinstance(refused, Stale):
        chosen = {}  # those were answers to other questions
    yours = Content(**draft.content)
    return _merge_panel(request, template, current, draft.base, yours, draft, chosen=chosen, error=error)


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


def _merge_panel(
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
    merged = None
    if draft and current:
        found = merging.merge(base.content if base else NOTHING, draft.content, current.content)
        merged = merge_panel.panel(found, f"v{current.number}", chosen or {})
    context = {
        "template": template,
        "live": current,
        "release": queries.templates.newest_release_of([current.pk]).get(current.pk) if current else None,
        "base": base,
        "yours": yours,
        "draft": draft,
        "unchanged": draft is None and base is not None and yours.body.replace("\r\n", "\n").strip() == base.body,
        "merge": merged,
        "error": error,
    }
    return render(request, "prompts/_conflict.html", context, status=409)


def _keep(request: Request, template: Template, form: ContentForm) -> Draft | None:
    """Save the draft before anything can go wrong; a text that cannot even be stored stays in the page."""
    try:
        return _save(request, template, form, overwrite=True)
    except ValidationError:
        return None


def _keep_posted(request: Request, template: Template) -> HttpResponse | None:
    """Save what the page posted of its editor, if anything. The answer when that cannot be done, else None."""
    if "body" not in request.POST:
        return None
    form = ContentForm(request.POST)
    if not form.is_valid():
        return _cannot_keep(form)
    try:
        _save(request, template, form, overwrite=False)
    except StaleDraft as stale:
        return _elsewhere(request, template, form, stale.draft)
    except ValidationError as error:
        return HttpResponse(" ".join(error.messages), status=400, content_type="text/plain; charset=utf-8")
    return None


def _save(request: Request, template: Template, form: ContentForm, *, overwrite: bool) -> Draft | None:
    """Save what the form holds as this person's draft; raises what `save_draft` raises."""
    given = form.cleaned_data
    return actions.save_draft(
        template,
        form.content,
        user=request.user,
        base=given["base"],
        page=given["page"],
        seen=given["seen"],
        overwrite=overwrite,
    )


def _elsewhere(request: Request, template: Template, form: ContentForm, other: Draft) -> HttpResponse:
    """Another window of the same person has saved meanwhile: both texts, and the choice."""
    context = {"template": template, "other": other, "yours": form.content}
    response = render(request, "prompts/_elsewhere.html", context, status=409)
    response["X-Reason"] = "your draft was changed in another window; choose above the editor"
    return response


def _discarded(request: Request, template: Template) -> int:
    """How many discarded drafts this person has of the template."""
    return template.discarded_drafts.filter(user=request.user).count()


def _undo_by(kept: DiscardedDraft | None, template: Template) -> str:
    """Where a toast's *Undo* puts back what was set aside; "" when nothing was."""
    return reverse("template_restore_draft", args=[template.name, kept.pk]) if kept else ""


def _cannot_keep(form: ContentForm) -> HttpResponse:
    sentence = " ".join(
        f"{form.fields[name].label or name}: {error}" for name, errors in form.errors.items() for error in errors
    )
    return HttpResponse(sentence, status=400, content_type="text/plain; charset=utf-8")


def _sentence(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
