"""Templates, their immutable versions, drafts, and which people have an editor open."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.prompts.content import (
    SETTINGS,
    grouped,
    is_unset,
    lasting,
    parameters_in_words,
    parameters_of,
    values_of,
)


class Parameters(models.Model):
    """The columns of the parameters, of whatever holds a content and of runs (None: the default applies)."""

    temperature = models.FloatField(
        null=True,
        blank=True,
        validators=SETTINGS["temperature"].validators,
        help_text=SETTINGS["temperature"].range,
    )
    max_tokens = models.PositiveIntegerField(
        null=True, blank=True, validators=SETTINGS["max_tokens"].validators, help_text=SETTINGS["max_tokens"].range
    )
    top_p = models.FloatField(null=True, blank=True, validators=SETTINGS["top_p"].validators)
    # Null, not "": SQLite adds a column that may be null without copying the table, which holds all runs.
    reasoning_effort = models.CharField(  # noqa: DJ001
        max_length=SETTINGS["reasoning_effort"].max_characters,
        null=True,
        blank=True,
        choices=[(each, each) for each in SETTINGS["reasoning_effort"].choices],
    )
    seed = models.PositiveIntegerField(null=True, blank=True, validators=SETTINGS["seed"].validators)

    class Meta:
        abstract = True

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return parameters_of(self)

    @property
    def parameters_in_words(self) -> str:
        """Return the parameters that are set, in words."""
        return parameters_in_words(self)

    @property
    def parameter_values(self) -> list[tuple[str, str]]:
        """Return label and value of each parameter that is set."""
        values = self.parameters.items()
        return [(SETTINGS[name].label.lower(), grouped(value)) for name, value in values if not is_unset(value)]


class Texts(models.Model):
    """The columns of the texts beside the system prompt, of whatever holds a content (None: not set)."""

    # Null, not "": see `reasoning_effort`.
    user_template = models.TextField(  # noqa: DJ001
        max_length=SETTINGS["user_template"].max_characters, null=True, blank=True
    )
    examples = models.TextField(  # noqa: DJ001
        max_length=SETTINGS["examples"].max_characters, null=True, blank=True
    )
    answer_rules = models.TextField(  # noqa: DJ001
        max_length=SETTINGS["answer_rules"].max_characters, null=True, blank=True
    )

    class Meta:
        abstract = True


class Content(Parameters, Texts):
    """The content of a version or a draft: its text and generation settings (None or blank: the default applies)."""

    body = models.TextField()
    model = models.CharField(max_length=SETTINGS["model"].max_characters, blank=True)

    class Meta:
        abstract = True

    @property
    def content(self) -> dict[str, Any]:
        """Return the text and the settings by name."""
        return values_of(self)


class Template(models.Model):
    """A named system prompt that serves one operation."""

    name = models.CharField(
        max_length=60,
        unique=True,
        validators=[
            RegexValidator(
                r"\A[a-z0-9][a-z0-9_-]*\Z",
                "Use lower-case letters, digits, - and _ only, starting with a letter or digit.",
            )
        ],
        error_messages={"unique": "A template of that name exists. Choose another name."},
    )
    operation = models.CharField(max_length=MAX_NAME_CHARACTERS)
    description = models.CharField(max_length=200, blank=True)
    is_default = models.BooleanField(default=False)
    live_version = models.ForeignKey("Version", models.PROTECT, null=True, blank=True, related_name="+")
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["operation", "-is_default", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["operation"], condition=models.Q(is_default=True), name="template_one_default_per_operation"
            ),
            models.CheckConstraint(
                condition=~models.Q(is_default=True, archived_at__isnull=False), name="template_default_not_archived"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Version(Content):
    """An immutable, numbered snapshot of a template."""

    template = models.ForeignKey(Template, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    note = models.CharField(max_length=500, blank=True)
    author = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    author_name = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now)
    sha256 = models.CharField(max_length=64, editable=False)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["template", "number"], name="version_number_unique")]

    def __str__(self) -> str:
        return f"{self.template.name} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ValidationError("A version cannot be changed. Publish a new one.")
        self.sha256 = content_sha256(self.content)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise ValidationError("A version cannot be deleted. Archive its template instead.")


class Draft(Content):
    """One person's autosaved work on a template, with the version it started from."""

    body = models.TextField(blank=True)
    template = models.ForeignKey(Template, models.CASCADE, related_name="drafts")
    user = models.ForeignKey("User", models.CASCADE, related_name="drafts")
    base = models.ForeignKey(Version, models.PROTECT, null=True, blank=True, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)
    # The draft before each merge, newest last: content, id of the base, number of the version merged with.
    before_merges = models.JSONField(default=list, blank=True)
    page = models.CharField(max_length=36, blank=True, help_text="The open page that saved it last.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["template", "user"], name="draft_one_per_person")]

    def __str__(self) -> str:
        return f"draft of {self.template_id} by {self.user_id}"

    @property
    def sha256(self) -> str:
        """Return a hash of the content and its base, which changes with the text, a setting or the base."""
        return content_sha256({**self.content, "base": self.base_id})

    @property
    def merged_with(self) -> int | None:
        """Return the number of the version that was merged last, or None if no merge can be undone."""
        return self.before_merges[-1]["merged_with"] if self.before_merges else None

    @property
    def state(self) -> str:
        """Return the state that a page remembers, so that it can detect a later save by another page."""
        return self.updated_at.isoformat()


class DiscardedDraft(Content):
    """A draft that a person discarded or replaced. The newest ones of each template can be restored."""

    KEPT = 10  # of each person and template

    body = models.TextField(blank=True)
    template = models.ForeignKey(Template, models.CASCADE, related_name="discarded_drafts")
    user = models.ForeignKey("User", models.CASCADE, related_name="+")
    base = models.ForeignKey(Version, models.PROTECT, null=True, blank=True, related_name="+")
    discarded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"discarded draft of {self.template_id} by {self.user_id}"


class Presence(models.Model):
    """An open page of a template's editor. Its process renews the row every few seconds."""

    GONE_AFTER = timedelta(seconds=25)  # a killed process stops renewing its rows

    template = models.ForeignKey(Template, models.CASCADE, related_name="+")
    user = models.ForeignKey("User", models.CASCADE, related_name="+")
    channel = models.CharField(max_length=100, unique=True)
    process = models.CharField(max_length=32, db_index=True)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.user_id} at {self.template_id}"

    @classmethod
    def current(cls) -> "models.QuerySet[Presence]":
        """Return the pages that are open now."""
        return cls.objects.filter(seen_at__gt=timezone.now() - cls.GONE_AFTER)


def content_sha256(content: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a content."""
    canonical = json.dumps(lasting(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
