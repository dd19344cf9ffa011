"""Reads of shared drafts and of requests for a release."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Count, Min, QuerySet

from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.platform.pages import Numbered, numbered
from promptops.prompts.content import NOTHING, long_fields
from promptops.prompts.enums import RequestState
from promptops.prompts.models import Draft, ReleaseRequest, SharedDraft, Template
from promptops.prompts.models.handover import ACTIVE, Handover
from promptops.texts.merge import Merge, merge


@dataclass(frozen=True)
class Arrival:
    """The text that goes live if a text that was handed over is published now.

    It is the text itself, or its merge with the live version if another version went live since the text was begun.
    """

    text: Handover

    @property
    def is_outdated(self) -> bool:
        """Return whether another version is live than the one that the text started from."""
        live = self.text.template.live_version_id
        return live is not None and live != self.text.base_id

    @cached_property
    def merge(self) -> Merge | None:
        """Return the merge with the live version; None if the text can be published as it is."""
        text, live = self.text, self.text.template.live_version
        if live is None or not self.is_outdated:
            return None
        return merge(text.base.content if text.base else NOTHING, text.content, live.content)

    @property
    def conflicts(self) -> int:
        """Return how many passages and settings a person has to decide."""
        return len(self.merge.contested) if self.merge else 0

    @cached_property
    def content(self) -> dict[str, Any] | None:
        """Return the content that would go live; None if there are conflicts."""
        if self.merge is None:
            return self.text.content
        return None if self.conflicts else self.merge.content()

    @property
    def refusal(self) -> str:
        """Return why a text with conflicts cannot be published, and what to do."""
        live, name = self.text.template.live_version, self.text.user.name
        number = f"v{live.number}" if live else "what is live"
        return f"{name} and {number} changed the same places. Send the request back, so that {name} merges the texts."

    @property
    def is_live(self) -> bool:
        """Return whether the live version has this content already, so that there is nothing to publish."""
        live = self.text.template.live_version
        return live is not None and self.content == live.content


@dataclass(frozen=True)
class Waiting:
    """The requests that wait for a releaser: how many, and since when the oldest one waits (None: there are none)."""

    count: int
    oldest: datetime | None


def waiting() -> Waiting:
    """Return the requests that wait for a releaser, in one query."""
    found = ReleaseRequest.objects.filter(state=RequestState.OPEN).aggregate(count=Count("pk"), oldest=Min("asked_at"))
    return Waiting(**found)


def listed(*, ended: bool, number: int | None) -> Numbered[ReleaseRequest]:
    """Return a page of the active requests, those that wait longest first; or of the ended ones, newest first.

    Their texts are not loaded.
    """
    requests = _light(ReleaseRequest.objects.all())
    if ended:
        return numbered(requests.exclude(state__in=ACTIVE).order_by("-pk"), number)
    return numbered(requests.filter(state__in=ACTIVE).order_by("state", "asked_at", "pk"), number)


def active_of(template: Template, user: User) -> ReleaseRequest | None:
    """Return the person's own request of the template that is not ended, with its text."""
    requests = ReleaseRequest.objects.select_related("answered_by")
    return requests.filter(template=template, user=user, state__in=ACTIVE).first()


def sent_back_to(user: User) -> list[ReleaseRequest]:
    """Return the person's requests that a releaser sent back, newest first, without texts."""
    requests = _light(ReleaseRequest.objects.filter(user=user, state=RequestState.SENT_BACK))
    return list(requests.order_by("-answered_at"))


def shared_by(template: Template, user: User) -> SharedDraft | None:
    """Return the draft of the template that the person shared last, unless its link was revoked."""
    return SharedDraft.objects.filter(template=template, user=user, revoked_at=None).order_by("-pk").first()


def may_revoke(user: User, shared: SharedDraft) -> bool:
    """Return whether the person may revoke the link: the one who shared the draft, and releasers."""
    return shared.user_id == user.pk or user.may(Permission.RELEASE)


def revoked_reason(shared: SharedDraft) -> str:
    """Return a sentence for a person who opens a link that was revoked."""
    return f"The link to this draft of {shared.template.name} was revoked. Ask {shared.user.name} for a new one."


def _light(requests: QuerySet[ReleaseRequest]) -> QuerySet[ReleaseRequest]:
    related = requests.select_related("template__live_version", "user", "base", "answered_by", "version")
    long = (*long_fields(""), *long_fields("base__"), *long_fields("template__live_version__"))
    return related.defer(*long, *long_fields("version__"))


@dataclass(frozen=True)
class Own:
    """A person's own active request of a template, beside the draft."""

    request: ReleaseRequest
    has_moved_on: bool
    """True if the draft has another text, or starts from another version, than the request."""


def own(template: Template, user: User, draft: Draft | None) -> Own | None:
    """Return the person's own active request, compared with the draft."""
    request = active_of(template, user)
    return Own(request, draft is not None and _has_moved_on(draft, request)) if request else None


def _has_moved_on(draft: Draft, request: ReleaseRequest) -> bool:
    content = {**draft.content, "body": draft.body.strip()}
    return content != request.content or draft.base_id != request.base_id
