"""Handing over: drafts that were shared with a link, and requests for a release. Both keep a text as it was then."""

from django.db import models
from django.utils import timezone

from promptops.people.models import User
from promptops.prompts.enums import RequestState
from promptops.prompts.models.templates import Content, Template, Version

MAX_COMMENT_CHARACTERS = 1000
ACTIVE = (RequestState.OPEN, RequestState.SENT_BACK)
"""The states of a request that its author can still update or withdraw."""


class Handover(Content):
    """A copy of a person's draft, with the version that the draft started from."""

    template = models.ForeignKey(Template, models.PROTECT, related_name="+")
    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    base = models.ForeignKey(Version, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        abstract = True


class SharedDraft(Handover):
    """A draft as it was when its author shared it. Its text never changes. A revoked one is not shown any more."""

    at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["template", "user"], name="shared_draft_of_person")]

    def __str__(self) -> str:
        return f"shared draft of {self.template.name}"


class ReleaseRequest(Handover):
    """A person's wish that a text goes live. A releaser publishes it or sends it back."""

    state = models.CharField(max_length=10, choices=RequestState, default=RequestState.OPEN)
    note = models.CharField(max_length=500, blank=True)
    asked_at = models.DateTimeField(default=timezone.now, help_text="When the text or the note changed last.")
    edition = models.PositiveIntegerField(
        default=1, help_text="Counts the changes of the text and the note. An answer must know the newest."
    )
    comment = models.CharField(max_length=MAX_COMMENT_CHARACTERS, blank=True, help_text="Why it was sent back last.")
    answered_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    answered_at = models.DateTimeField(null=True, blank=True)
    version = models.ForeignKey(Version, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["template", "user"], condition=models.Q(state__in=ACTIVE), name="release_request_one_active"
            )
        ]
        indexes = [models.Index(fields=["state", "asked_at"], name="release_request_state")]

    def __str__(self) -> str:
        return f"request for a release of {self.template.name}"

    @property
    def mark(self) -> str:
        """Return a word that changes with the state, the text and the note."""
        return f"{self.pk}-{self.edition}-{self.state}"

    @property
    def is_open(self) -> bool:
        """Return whether it waits for a releaser."""
        return self.state == RequestState.OPEN

    @property
    def is_active(self) -> bool:
        """Return whether its author can still update or withdraw it."""
        return self.state in ACTIVE

    @property
    def state_word(self) -> RequestState:
        """Return the state with its label and look."""
        return RequestState(self.state)
