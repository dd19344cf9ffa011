"""Handing a draft over: sharing it with a link, asking for its release, and answering such a request."""

from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.ledger.registry import Action
from promptops.people.models import User
from promptops.prompts.actions._texts import check_text
from promptops.prompts.actions.releases import publish
from promptops.prompts.content import Content
from promptops.prompts.enums import RequestState
from promptops.prompts.models import Draft, ReleaseRequest, SharedDraft, Template, Version
from promptops.prompts.models.handover import MAX_COMMENT_CHARACTERS
from promptops.prompts.models.templates import content_sha256
from promptops.prompts.queries import handover

ASKED, UPDATED = "request.asked", "request.updated"
ENDED = "This request has ended. Nothing was changed."


def _shared_url(entry: AuditEntry) -> str:
    return reverse("shared_draft", args=[entry.object_name, entry.object_id])


def _request_url(entry: AuditEntry) -> str:
    return reverse("release_request", args=[entry.object_id])


registry.noun("draft", "Drafts")
registry.noun("request", "Requests for a release")
registry.object_kind("shareddraft", "Shared draft", url=_shared_url)
registry.object_kind("releaserequest", "Request for a release", url=_request_url)
registry.value_labels({"asked_by": "Asked by", "shared_by": "Shared by", "started_from": "Started from version"})
registry.register(
    Action(
        "draft.shared",
        "{actor} shared a draft of {object}",
        when="somebody made a link to a draft; the entry has the SHA-256 of the text, not the text",
        object="shareddraft",
        is_change=False,
    ),
    Action(
        "draft.share_revoked",
        "{actor} revoked the link to a draft of {object}",
        when="the person who shared a draft, or a releaser, revoked its link",
        object="shareddraft",
        is_change=False,
    ),
    Action(
        ASKED,
        "{actor} asked for a release of {object}",
        when="somebody asked releasers to publish a draft; the entry has the SHA-256 of the text, not the text",
        object="releaserequest",
    ),
    Action(
        UPDATED,
        "{actor} updated the request for a release of {object}",
        when="the author of a request replaced its text or note, or answered a comment",
        object="releaserequest",
    ),
    Action(
        "request.withdrawn",
        "{actor} withdrew the request for a release of {object}",
        when="the author of a request withdrew it",
        object="releaserequest",
    ),
    Action(
        "request.sent_back",
        "{actor} sent the request of {after[asked_by]} for a release of {object} back",
        when="a releaser sent a request back; the note of the entry is the comment",
        object="releaserequest",
    ),
)


@transaction.atomic
def share(template: Template, *, by: Actor) -> SharedDraft:
    """Keep a copy of the person's draft, to which everybody who can sign in may have the link.

    The same text is shared once. Raises Refused without a draft.
    """
    draft = _draft(template, by, "share")
    newest = handover.shared_by(template, draft.user)
    if newest and (newest.content, newest.base_id) == (draft.content, draft.base_id):
        return newest
    shared = SharedDraft.objects.create(template=template, user=draft.user, base=draft.base, **draft.content)
    audit.record("draft.shared", by=by, object=shared, object_name=template.name, after=_audit_values(shared))
    return shared


@transaction.atomic
def revoke_share(shared: SharedDraft, *, by: Actor) -> None:
    """Revoke the link to a shared draft. Raises Refused for other people than its author and releasers, or if it is."""
    if by.user is None or not handover.may_revoke(by.user, shared):
        raise Refused(f"Only {shared.user.name} and releasers can revoke this link.")
    if not SharedDraft.objects.filter(pk=shared.pk, revoked_at=None).update(revoked_at=timezone.now()):
        raise Refused("This link was revoked before. Nothing was changed.")
    values = _audit_values(shared) | {"shared_by": shared.user.name}
    audit.record("draft.share_revoked", by=by, object=shared, object_name=shared.template.name, before=values)


@transaction.atomic
def ask(template: Template, *, by: Actor, note: str = "") -> ReleaseRequest:
    """Ask for a release of the person's draft as it is now. An active request of the same person is replaced.

    The draft stays, and its later changes are not part of the request. Raises Refused without a draft, when nothing
    differs from the live version or from the request, and for an archived template; ChecksFailed and ValidationError
    for a text that cannot go live.
    """
    draft = _draft(template, by, "ask for")
    template = Template.objects.select_related("live_version").get(pk=template.pk)
    if template.archived_at:
        raise Refused(f"{template.name} is archived. A releaser has to restore it first.")
    content = vars(Content(**draft.content).cleaned())
    live = template.live_version
    if live and content == live.content:
        raise Refused(f"Nothing to ask for: v{live.number}, which is live, has the same text and settings.")
    check_text(Version(**content), template.operation)
    active = handover.active_of(template, draft.user)
    request = active or ReleaseRequest(template=template, user=draft.user)
    wanted = {**content, "base_id": draft.base_id, "note": note.strip()}
    if active and active.is_open and all(getattr(active, name) == value for name, value in wanted.items()):
        raise Refused("Your request already has this text and this note.")
    before = _audit_values(active) if active else None
    for name, value in wanted.items():
        setattr(request, name, value)
    request.state, request.asked_at = RequestState.OPEN, timezone.now()
    request.edition = active.edition + 1 if active else 1
    request.full_clean(exclude=["body"])
    request.save()
    name, after = UPDATED if active else ASKED, _audit_values(request)
    audit.record(name, by=by, object=request, object_name=template.name, before=before, after=after, note=request.note)
    return request


@transaction.atomic
def withdraw(request: ReleaseRequest, *, by: Actor) -> ReleaseRequest:
    """End the person's own request without a release. Raises Refused for the request of somebody else."""
    request = _locked(request)
    if by.user is None or request.user_id != by.user.pk:
        raise Refused("Only the person who asked can withdraw a request. You can send it back.")
    if not request.is_active:
        raise Stale(ENDED)
    request.state = RequestState.WITHDRAWN
    request.save(update_fields=["state"])
    name = request.template.name
    audit.record("request.withdrawn", by=by, object=request, object_name=name, before=_audit_values(request))
    return request


@transaction.atomic
def send_back(request: ReleaseRequest, comment: str, *, by: Actor, edition: int | None) -> ReleaseRequest:
    """Send a request back to its author with a comment. `edition` is the one that the releaser has read.

    Raises Stale when the request was updated or ended in the meantime, Refused without a comment.
    """
    request = _open(request, edition)
    comment = comment.replace("\x00", "").replace("\r\n", "\n").strip()
    if not comment:
        raise Refused(f"Write what {request.user.name} should change. The comment is sent with the request.")
    if len(comment) > MAX_COMMENT_CHARACTERS:
        raise Refused(f"The comment has {len(comment):,} characters; at most {MAX_COMMENT_CHARACTERS:,} are allowed.")
    request.comment = comment
    _answer(request, RequestState.SENT_BACK, by)
    name, after = request.template.name, _audit_values(request)
    audit.record("request.sent_back", by=by, object=request, object_name=name, after=after, note=comment)
    return request


@transaction.atomic
def publish_request(
    request: ReleaseRequest, *, by: Actor, edition: int | None, expected: int | None, note: str = ""
) -> Version:
    """Publish the text of a request, merged with what is live if that has changed since the text was begun.

    The version's author is the person who asked, its release that of the releaser. `expected` is the id of the live
    version, and `edition` that of the request, which the releaser has read. Raises Stale when the request was updated
    or ended, Refused when the merge has conflicts, and what `publish` raises.
    """
    request = _open(request, edition)
    arrival = handover.Arrival(request)
    if arrival.content is None:
        raise Refused(arrival.refusal)
    version = publish(
        request.template, Content(**arrival.content), by=by, expected=expected, note=note, request=request
    )
    request.version = version
    _answer(request, RequestState.PUBLISHED, by)
    return version


def _draft(template: Template, by: Actor, verb: str) -> Draft:
    """Return the actor's draft, locked against a second request at the same time."""
    if by.user is None:
        raise Refused("Only a person has drafts.")
    User.objects.select_for_update().get(pk=by.user.pk)
    draft = Draft.objects.select_related("user", "base").filter(template=template, user=by.user).first()
    if draft is None:
        raise Refused(f"You have no draft of {template.name} to {verb}. Change the text first.")
    return draft


def _locked(request: ReleaseRequest) -> ReleaseRequest:
    rows = ReleaseRequest.objects.select_for_update(of=("self",))
    return rows.select_related("template__live_version", "user", "base").get(pk=request.pk)


def _open(request: ReleaseRequest, edition: int | None) -> ReleaseRequest:
    request = _locked(request)
    if not request.is_open:
        raise Stale(f"This request is already {request.state_word.label.lower()}. Nothing was changed.")
    if request.edition != edition:
        raise Stale(f"{request.user.name} updated the request in the meantime. Read the new text, then decide again.")
    return request


def _answer(request: ReleaseRequest, state: RequestState, by: Actor) -> None:
    request.state, request.answered_by, request.answered_at = state, by.user, timezone.now()
    request.save(update_fields=["state", "answered_by", "answered_at", "comment", "version"])


def _audit_values(handed: SharedDraft | ReleaseRequest) -> dict[str, Any]:
    values: dict[str, Any] = {
        "started_from": handed.base.number if handed.base else None,
        "sha256": content_sha256(handed.content),
    }
    return values | {"asked_by": handed.user.name} if isinstance(handed, ReleaseRequest) else values
